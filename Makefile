PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PROGRAMS := diskyard importer uploadproxy cloner datavolume_controller vm_runtime pages standalone cli demo

.PHONY: setup compiled demo test test-debian cluster test-cluster record lint fmt bench

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt packages.sh
	./packages.sh
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[vm,dev]'
	touch $@

# As pip does for what it installs; processes of pods are another user's and cannot write here.
compiled: setup
	$(BIN)/python -m compileall -q $(PROGRAMS)

demo: compiled
	$(BIN)/python -m demo

test: lint compiled
	$(BIN)/pytest -n 2 --dist loadgroup

test-debian: compiled
	$(BIN)/pytest -m debian

cluster: setup
	$(BIN)/python -m tests.cluster.programs

test-cluster: cluster compiled
	$(BIN)/pytest -n 2 --dist loadgroup -m cluster

lint: setup
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --no-logo > /dev/null || $(BIN)/lint-imports

record: cluster
	$(BIN)/python -m tests.conformance.recorded

fmt: setup
	$(BIN)/ruff format --quiet .
	$(BIN)/ruff check --quiet --fix .

bench: compiled
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/api.py
	$(BIN)/python benchmarks/engine.py
