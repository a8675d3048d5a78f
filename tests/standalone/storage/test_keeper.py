"""The keeper of a node's images: leases end with their pods, and what nobody uses goes by age and by room."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from diskyard.api import lending
from diskyard.api.meta import POD
from diskyard.disk.imagestore import KEEP, ImageStore
from diskyard.disk.stored import Identity
from standalone.storage.keeper import Keeper
from standalone.store.objects import Objects
from tests import builders
from tests.disk.loops import small_place
from tests.disk.test_imagestore import bring

USED = Identity("docker://images.example/used", "sha256:1")
IDLE = Identity("docker://images.example/idle", "sha256:2")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    with small_place(tmp_path / "place", "8m") as found:
        yield found


@pytest.fixture
def images(place: Path, store: Objects) -> ImageStore:
    """One image that a pod's guest uses, one that nobody does."""
    store.create(POD, builders.pod("guest", volumes=[lending.volume("image", "of-a-guest")]))
    found = ImageStore(place / "images")
    found.lease(USED, "of-a-guest", "default/guest", bring(USED))
    found.lease(IDLE, "of-nobody", "default/gone", bring(IDLE))
    return found


def kept(images: ImageStore, store: Objects) -> set[Identity]:
    """What is there after a round."""
    Keeper(images, store).once()
    return {each.entry.identity for each in images.found()}


def test_a_lease_ends_with_its_pod_and_the_image_stays_while_there_is_room(
    images: ImageStore, store: Objects
) -> None:
    assert kept(images, store) == {USED, IDLE}
    assert [each.users for each in images.found() if each.entry.identity == IDLE] == [()]


def test_where_little_is_free_what_nobody_uses_goes(images: ImageStore, store: Objects, place: Path) -> None:
    (place / "filler").write_bytes(bytes(7 << 20))

    assert kept(images, store) == {USED}


def test_what_nobody_has_used_for_long_goes(images: ImageStore, store: Objects) -> None:
    long_ago = time.time() - KEEP - 60
    for each in (USED, IDLE):
        os.utime(images.folder / "images" / each.key / "about.json", (long_ago, long_ago))

    assert kept(images, store) == {USED}
