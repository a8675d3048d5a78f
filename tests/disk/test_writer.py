"""Every DiskWriter passes one suite: a file that takes O_DIRECT or does not, and a block device."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from diskyard.disk.writer import DeviceWriter, FileWriter
from diskyard.errors import ImageTooLarge
from tests.disk.loops import loop
from tests.disk.writer_suite import SIZE, Kept, WriterSuite


def file(path: Path) -> Kept:
    path.write_bytes(b"\xa5" * SIZE)
    return Kept(path, lambda: FileWriter(path, keep=SIZE))


class TestFile(WriterSuite):
    @pytest.fixture
    def kept(self, tmp_path: Path) -> Kept:
        return file(tmp_path / "disk")


class TestFileThatIsReserved(WriterSuite):
    @pytest.fixture
    def kept(self, tmp_path: Path) -> Kept:
        path = tmp_path / "disk"
        path.write_bytes(b"\xa5" * SIZE)
        return Kept(path, lambda: FileWriter(path, keep=SIZE, preallocate=SIZE))


class TestFileInMemory(WriterSuite):
    """tmpfs: what it does not take past the cache goes through it."""

    @pytest.fixture
    def kept(self) -> Iterator[Kept]:
        path = Path(f"/dev/shm/diskyard-{os.getpid()}-writer")
        yield file(path)
        path.unlink()


class TestDevice(WriterSuite):
    @pytest.fixture
    def kept(self, tmp_path: Path) -> Iterator[Kept]:
        with loop(tmp_path / "backing", SIZE) as device:
            yield Kept(device, lambda: DeviceWriter(device))


def test_a_file_is_as_long_as_it_is_told_and_new_parts_are_holes(tmp_path: Path) -> None:
    with closing(FileWriter(tmp_path / "disk")) as writer:
        writer.resize(1 << 30)
        writer.flush()

    facts = (tmp_path / "disk").stat()
    assert (facts.st_size, facts.st_blocks) == (1 << 30, 0)


def test_a_device_is_as_large_as_it_is(tmp_path: Path) -> None:
    with loop(tmp_path / "backing", SIZE) as device, closing(DeviceWriter(device)) as writer:
        writer.resize(SIZE)
        with pytest.raises(
            ImageTooLarge, match=f"{SIZE + 1} is larger than the reported available storage {SIZE}"
        ):
            writer.resize(SIZE + 1)
