"""What an import costs grows with the data of an image, not with the size of its disk."""

import subprocess
from pathlib import Path

import pytest

from diskyard.api.job import ImportJob
from diskyard.disk.target import Target
from importer.transfer import transfer
from tests.builders import eventually
from tests.disk.images import MIB, qemu_img
from tests.imageserver import ImageServer

SIZES = {"1G": 1 << 30, "1T": 1 << 40}
TABLE = 64 << 10
WRITES = 12
MOST = 24
"""Requests for 12 MiB, whatever the disk's size: one, or on a busy machine 2 MiB at once over several connections."""


def sparse(image: Path, size: int) -> None:
    """A qcow2 with a MiB of data in each twelfth of its disk."""
    qemu_img("create", "-q", "-f", "qcow2", str(image), str(size))
    step = size // WRITES // MIB * MIB
    commands = [f"write -q -P {1 + place} {place * step} 1M" for place in range(WRITES)]
    words = [word for command in commands for word in ("-c", command)]
    subprocess.run(["qemu-io", "-f", "qcow2", *words, str(image)], check=True, capture_output=True)


@pytest.mark.parametrize("door", ["", "no-ranges/"], ids=["ranges", "no ranges"])
def test_a_disk_a_thousand_times_as_large_takes_as_few_requests_and_only_its_tables_more_bytes(
    images: ImageServer, tmp_path: Path, door: str
) -> None:
    hits, fetched, written = {}, {}, {}
    for name, size in SIZES.items():
        image = images.root / f"{name}.qcow2"
        sparse(image, size)
        images.forget()
        result = transfer(ImportJob("http", images.url(f"{door}{image.name}")), Target(tmp_path / name))
        eventually(lambda due=result.bytes_fetched: sum(hit.sent for hit in images.hits()) >= due)
        hits[name] = len(images.hits())
        fetched[name], written[name] = result.bytes_fetched, result.bytes_written
        compare = ["qemu-img", "compare", "-q", "-f", "qcow2", "-F", "raw", image, tmp_path / name]
        assert subprocess.run(compare, check=False).returncode == 0
        assert (tmp_path / name).stat().st_blocks * 512 <= (WRITES + 1) * MIB

    assert max(hits.values()) <= MOST
    assert written["1T"] == written["1G"] == WRITES * MIB
    assert fetched["1T"] - fetched["1G"] <= (WRITES + 8) * TABLE
