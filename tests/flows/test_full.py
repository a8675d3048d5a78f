"""A yard whose storage is full: that is said, and what there was goes on serving."""

import os
from pathlib import Path

import pytest

from tests.builders import eventually
from tests.disk.loops import small_place
from tests.flows.test_golden import a_cron, cron, image, kept_current, look_again, put, stands_for
from tests.flows.yard import Yard, running
from tests.imageserver import ImageServer


def test_without_room_for_the_next_image_the_last_one_serves_and_its_claim_says_what_is_missing(
    images: ImageServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("full")
    folder.chmod(0o755)
    first = os.urandom(1 << 20)
    put(images, "grows.img", first)
    wanted = a_cron("grows", {"http": {"url": images.url("grows.img")}})
    with (
        small_place(folder / "place", "128m") as place,
        running(place / "yard") as yard,
        kept_current(yard, wanted) as name,
    ):
        before = image(yard, name, first)
        put(images, "grows.img", os.urandom(1 << 20))
        look_again(yard, name)

        newest = eventually(lambda: _newest(yard, name, before), 120)
        yard.told(newest, "are not promised to other claims", 120)
        assert stands_for(yard, name) == before


def _newest(yard: Yard, name: str, before: str) -> str:
    """The image that is being imported."""
    under_way = cron(yard, name)["status"].get("currentImports") or [{}]
    found = str(under_way[0].get("DataVolumeName", before))
    assert found != before
    return found
