"""Fixtures that every folder of tests may use."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from standalone.store.objects import Objects

pytest_plugins = ["tests.guest", "tests.cluster.fixtures"]


def pytest_configure() -> None:
    """Let Ctrl-C reach the programs that tests start: a shell has jobs in the background ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Objects]:
    """An empty store (namespace `default` is there)."""
    with Objects.open(tmp_path / "store.db") as objects:
        yield objects
