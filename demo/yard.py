"""The demo's yard: it lives as long as the demo, and its directory with it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.display import step
from cli.ownyard import own_yard
from standalone.directory import Directory


@contextmanager
def yard(directory: Path) -> Iterator[Directory]:
    """A yard on the directory; afterwards nothing of it runs, and the directory is gone."""
    try:
        with own_yard(directory) as running:
            try:
                yield running
            finally:
                step("Shut down what runs, and stop the yard")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
