"""Fixtures that every folder of tests may use."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from standalone.store.objects import Objects

pytest_plugins = ["tests.guest", "tests.cluster.fixtures"]


def pytest_configure() -> None:
    """Run the same wherever tests run.

    Ctrl-C reaches the programs that tests start: a shell has jobs in the background ignore it. Where CI is set,
    pytest says every difference of two values: of two disks that took longer than any test may. Examples are the same
    in every run, and none has a deadline: one that nobody has seen before would fail whoever happens to be next.
    """
    settings.load_profile("ci")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.pop("CI", None)
    os.environ.pop("BUILD_NUMBER", None)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Objects]:
    """An empty store (namespace `default` is there)."""
    with Objects.open(tmp_path / "store.db") as objects:
        yield objects
