"""Fixtures that every folder of tests may use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from standalone.store.objects import Objects

pytest_plugins = ["tests.guest"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Objects]:
    """An empty store (namespace `default` is there)."""
    with Objects.open(tmp_path / "store.db") as objects:
        yield objects
