"""An upload server on a volume of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.uploadproxy.pod import Pod, upload_pod


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    """A server that runs, for 64 MiB."""
    with upload_pod(tmp_path) as found:
        yield found.start()
