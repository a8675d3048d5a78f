PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: setup demo test test-debian cluster test-cluster record lint fmt bench

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt packages.sh
	./packages.sh
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[vm,dev]'
	touch $@

demo: setup
	$(BIN)/python -m demo

test: lint
	$(BIN)/pytest -n 2 --dist loadgroup

test-debian: setup
	$(BIN)/pytest -m debian

cluster: setup
	$(BIN)/python -m tests.cluster.programs

test-cluster: cluster
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

bench: setup
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/api.py
	$(BIN)/python benchmarks/engine.py
