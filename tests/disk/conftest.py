"""One disk, and the same disk as every kind of image."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.disk import images
from tests.disk.loops import loop, small_place


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with disk.raw and its images; never written by a test."""
    folder = tmp_path_factory.mktemp("gallery")
    disk = images.raw(folder / "disk.raw")
    for kind, name, options in (
        ("qcow2", "disk.qcow2", ()),
        ("qcow2", "zlib.qcow2", ("-c",)),
        ("qcow2", "zstd.qcow2", ("-c", "-o", "compression_type=zstd")),
        ("qcow2", "v2.qcow2", ("-o", "compat=0.10")),
        ("qcow2", "extended.qcow2", ("-o", "extended_l2=on,cluster_size=128k")),
        ("qcow2", "small.qcow2", ("-o", "cluster_size=512")),
        ("vmdk", "disk.vmdk", ()),
        ("vmdk", "stream.vmdk", ("-o", "subformat=streamOptimized")),
        ("vdi", "disk.vdi", ()),
        ("vpc", "disk.vhd", ("-o", "force_size=on")),
        ("vhdx", "disk.vhdx", ()),
    ):
        images.converted(disk, folder / name, kind, *options)
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 4 MiB."""
    with small_place(tmp_path / "small", "4m") as found:
        yield found


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Path]:
    """A block device of 32 MiB, full of what someone else has left."""
    with loop(tmp_path / "device.backing", 32 << 20) as found:
        yield found
