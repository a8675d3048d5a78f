"""No image reads what is not its own, nor costs more than its room: one row per published flaw, and a canary."""

import resource
from pathlib import Path

import pytest

from diskyard.disk.ingest import ingest
from diskyard.disk.target import Expect, Target
from diskyard.errors import Refused
from tests.disk.hostile import CANARY, FAMILIES, SIZE, Maker
from tests.disk.images import MIB, left_behind
from tests.disk.sources import Bytes

ROOM = 8 * MIB
ROWS = [
    pytest.param(maker, id=f"{family}-{maker.__name__}")
    for family, makers in FAMILIES.items()
    for maker in makers
]


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that holds nothing but its own name."""
    path = tmp_path / "secret" / "canary"
    path.parent.mkdir()
    path.write_bytes(CANARY * (SIZE // len(CANARY)))
    return path


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    folder = tmp_path / "volume"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("maker", ROWS)
@pytest.mark.parametrize("ranged", [True, False], ids=["ranged", "one stream"])
def test_is_refused_and_reads_nothing(maker: Maker, canary: Path, volume: Path, ranged: bool) -> None:
    image = maker(canary)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    source = Bytes(image, "v1" if ranged else None, ranged=ranged, sized=ranged)

    with pytest.raises(Refused) as refusal:
        ingest(source, Target(volume / "disk.img", room=ROOM), expect=Expect("image"))

    assert CANARY.decode() not in str(refusal.value)
    assert left_behind(volume) == []
    assert canary.read_bytes().startswith(CANARY * 1000)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 96 * MIB


@pytest.mark.parametrize("name", [".disk.img.part", ".disk.img.spool", ".disk.img.journal", "disk.img"])
@pytest.mark.parametrize("form", ["raw", "vdi"])
def test_a_link_left_in_a_volume_leads_nowhere(
    gallery: Path, canary: Path, volume: Path, name: str, form: str
) -> None:
    """CVE-2025-64433, CVE-2026-9804: what a claim's last user has left there is as hostile as an image."""
    (volume / name).symlink_to(canary)
    before = canary.read_bytes()

    ingest(Bytes((gallery / f"disk.{form}").read_bytes()), Target(volume / "disk.img"))

    assert not (volume / "disk.img").is_symlink()
    assert canary.read_bytes() == before
    assert CANARY not in b"".join(path.read_bytes() for path in volume.iterdir() if not path.is_symlink())


@pytest.mark.parametrize("name", ["disk.img", ".disk.img.part"])
def test_a_link_left_in_a_volume_leads_to_no_device(
    gallery: Path, device: Path, volume: Path, name: str
) -> None:
    (volume / name).symlink_to(device)
    before = device.read_bytes()

    ingest(Bytes((gallery / "disk.raw").read_bytes()), Target(volume / "disk.img"))

    assert (volume / "disk.img").lstat().st_size == 24 * MIB
    assert device.read_bytes() == before
