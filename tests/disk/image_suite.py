"""What every Image must do. A test class has a fixture `image` of the disk in the fixture `disk`, and inherits."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from diskyard.disk.image import Image
from diskyard.disk.ingest import ingest
from diskyard.disk.target import Target
from diskyard.errors import SourceUnavailable
from tests.disk.images import MIB, same


def read(image: Image, offset: int, length: int) -> bytes:
    buf = bytearray(length)
    image.preadinto(memoryview(buf), offset)
    return bytes(buf)


class ImageSuite:
    """Of an image that knows where its disk is zero."""

    def test_is_as_large_as_its_disk(self, image: Image, disk: Path) -> None:
        assert isinstance(image, Image)
        assert image.size == disk.stat().st_size

    def test_tells_the_whole_disk_in_order_and_without_overlap(self, image: Image) -> None:
        at = 0
        for extent in image.extents():
            assert (extent.start, extent.length > 0) == (at, True)
            at = extent.end

        assert at == image.size

    def test_says_zero_only_of_what_is_zero(self, image: Image, disk: Path) -> None:
        body = disk.read_bytes()

        assert not any(
            body[extent.start : extent.end].strip(b"\0") for extent in image.extents() if extent.zero
        )

    def test_knows_where_most_of_the_zeros_are(self, image: Image) -> None:
        assert sum(extent.length for extent in image.extents() if extent.zero) > image.size // 2

    def test_tells_its_extents_as_often_as_it_is_asked(self, image: Image) -> None:
        assert list(image.extents()) == list(image.extents())

    @pytest.mark.parametrize(
        ("offset", "length"),
        [(0, 1), (0, 4 * MIB), (511, 513), (12 * MIB - 800, 3 * MIB + 1), (24 * MIB - 1, 1)],
        ids=["the first byte", "a chunk", "odd edges", "across everything", "the last byte"],
    )
    def test_reads_at_any_offset(self, image: Image, disk: Path, offset: int, length: int) -> None:
        assert read(image, offset, length) == disk.read_bytes()[offset : offset + length]

    def test_reads_for_several_threads_at_once(self, image: Image, disk: Path) -> None:
        with ThreadPoolExecutor(4) as pool:
            pieces = list(pool.map(lambda n: read(image, n * MIB, MIB), range(24)))

        assert b"".join(pieces) == disk.read_bytes()

    def test_fails_where_the_disk_has_ended(self, image: Image) -> None:
        with pytest.raises(SourceUnavailable):
            read(image, image.size - 1, 2)

    def test_becomes_the_same_disk(self, image: Image, disk: Path, tmp_path: Path) -> None:
        result = ingest(image, Target(tmp_path / "copy.img"))

        assert same(disk, tmp_path / "copy.img")
        assert result.bytes_fetched < image.size // 2
