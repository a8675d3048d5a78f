"""What an image may take of a volume until its disk is made."""

from pathlib import Path

import pytest

from diskyard.disk import place
from diskyard.disk.ingest import ingest
from diskyard.disk.preflight import Preflight, Route
from diskyard.disk.probe import Format
from diskyard.disk.target import Target
from diskyard.errors import ImageTooLarge
from tests.disk.images import MIB, left_behind
from tests.disk.sources import Bytes


def test_an_image_that_is_far_longer_than_its_disk_may_be_is_not_fetched(
    gallery: Path, tmp_path: Path
) -> None:
    source = Bytes((gallery / "disk.vhdx").read_bytes())
    source.size = 1 << 30

    with pytest.raises(ImageTooLarge, match=f"the image is too long: {1 << 30} bytes"):
        ingest(source, Target(tmp_path / "disk.img", room=24 * MIB))

    assert source.read <= MIB
    assert left_behind(tmp_path) == []


def test_a_bomb_that_has_to_be_kept_stops_as_well(tmp_path: Path) -> None:
    target = Target(tmp_path / "disk.img", room=8 * MIB)
    refuse = place.bound(place.opened(target), Preflight(Format.VDI, MIB, Route.SPOOL))

    refuse(16 * MIB)
    with pytest.raises(ImageTooLarge, match=f"and {528 * MIB} may be"):
        refuse(1 << 30)
