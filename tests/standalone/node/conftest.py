"""A yard for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.standalone.node.yard import Yard, opened


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    """A working yard, ended with every process after the test."""
    with opened(tmp_path) as one:
        yield one
