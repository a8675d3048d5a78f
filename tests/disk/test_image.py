"""A file of this machine as an Image."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from diskyard.disk.image import FileImage
from tests.disk.image_suite import ImageSuite


@pytest.fixture
def disk(gallery: Path) -> Path:
    return gallery / "disk.raw"


class TestFile(ImageSuite):
    @pytest.fixture
    def image(self, disk: Path) -> Iterator[FileImage]:
        with closing(FileImage(disk)) as image:
            yield image
