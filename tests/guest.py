"""The small bootable disk that every test of guests uses: made once, kept in the user's cache."""

from pathlib import Path

import pytest

from demo import image

GREETING = b"Hello from a guest of Diskyard."
"""The guest's first words on its serial console."""


@pytest.fixture(scope="session")
def guest_image() -> Path:
    """A compressed qcow2 of 1 GiB that boots in seconds, also under software emulation."""
    return image.build(image.CACHE)
