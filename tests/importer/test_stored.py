"""Disks by way of the image store: fetched once, by each pull policy's rule, and lent to whom the source answers."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from diskyard.api.job import ImportJob
from diskyard.api.lending import Lending
from diskyard.disk.imagestore import ImageStore
from diskyard.disk.target import Progress, Result, Target, silent
from diskyard.errors import (
    AccessDenied,
    ChecksumMismatch,
    ImageTooLarge,
    InvalidRequest,
    NotStored,
    SourceUnavailable,
)
from importer import stored
from tests.disk import loops
from tests.disk.tars import entry, tar
from tests.imageserver import ImageServer
from tests.importer.publisher import Publisher
from tests.importer.registries import PASSWORD, USER, Wire, passwords, registry, wire

DISK: Final = os.urandom(1 << 20)
OTHER: Final = os.urandom(1 << 20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "images"


@pytest.fixture
def line(pushed: Publisher) -> Iterator[Wire]:
    """The way to a registry, which counts the bytes that come."""
    pushed.push(tar([entry("disk/vm.img", DISK)]))
    with wire(pushed.registry.host) as found:
        yield found


def job(host: str, pushed: Publisher, **fields: Any) -> ImportJob:
    url = pushed.url.replace(pushed.registry.host, host)
    return ImportJob("registry", url, **{"insecure_tls": True, **fields})


def lent(folder: Path, wanted: ImportJob, lease: str = "a", **how: str) -> tuple[Result, bytes]:
    """What comes of asking for a lease, and the disk that it is of."""
    lending = Lending(str(folder), **{"tenant": "default", "policy": "IfNotPresent", **how}, lease=lease)
    result = stored.lent(wanted, lending, silent)
    return result, ImageStore(folder).leased(lease).read_bytes()


def copied(folder: Path, wanted: ImportJob, path: Path, tenant: str = "default") -> Result:
    target = Target(path, room=64 << 20)
    return stored.filled(wanted, Lending(str(folder), tenant), target, silent)


def moved(line: Wire) -> int:
    """Bytes since this was asked last."""
    before, line.passed = line.passed, 0
    return before


# Pull policies.


def test_a_second_guest_fetches_nothing(folder: Path, pushed: Publisher, line: Wire) -> None:
    lent(folder, job(line.host, pushed))
    assert moved(line) > len(DISK)

    result, disk = lent(folder, job(line.host, pushed), "b")

    same = disk == DISK
    assert same
    assert (result.bytes_fetched, moved(line)) == (0, 0)


def test_an_image_that_was_kept_for_somebody_else_is_still_of_its_own_architecture(
    folder: Path, pushed: Publisher, volume: Path
) -> None:
    pushed.push(tar([entry("disk/vm.img", DISK)]), architecture="arm64")
    wanted = ImportJob("registry", pushed.url, insecure_tls=True)
    copied(folder, wanted, volume / "disk.img")
    words = 'architecture: "arm64" doesn\'t match requested architecture: "amd64"'

    with pytest.raises(InvalidRequest, match=words):
        lent(folder, replace(wanted, architecture="amd64"))
    with pytest.raises(InvalidRequest, match=words):
        copied(folder, replace(wanted, architecture="amd64"), volume / "other.img")

    assert [each.users for each in ImageStore(folder).found()] == [()]
    assert not (volume / "other.img").exists()


def test_always_asks_and_fetches_only_what_is_new(folder: Path, pushed: Publisher, line: Wire) -> None:
    lent(folder, job(line.host, pushed))
    moved(line)

    lent(folder, job(line.host, pushed), "b", policy="Always")
    assert 0 < moved(line) < 10_000
    pushed.push(tar([entry("disk/vm.img", OTHER)]))
    _, old = lent(folder, job(line.host, pushed), "c")
    _, new = lent(folder, job(line.host, pushed), "d", policy="Always")

    same = (old, new) == (DISK, OTHER)
    assert same


def test_a_registry_that_is_away_stops_always_and_nobody_else(
    folder: Path, pushed: Publisher, store: Path, tmp_path: Path
) -> None:
    pushed.push(tar([entry("disk/vm.img", DISK)]))
    with registry(tmp_path / "r", store) as soon_away:
        lent(folder, job(soon_away.host, pushed))

    with pytest.raises(SourceUnavailable, match=soon_away.host):
        lent(folder, job(soon_away.host, pushed), "b", policy="Always")
    for policy in ("IfNotPresent", "Never"):
        same = lent(folder, job(soon_away.host, pushed), policy, policy=policy)[1] == DISK
        assert same, policy


def test_never_uses_what_is_there_and_refuses_what_is_not(
    folder: Path, pushed: Publisher, line: Wire
) -> None:
    with pytest.raises(NotStored, match="is not in this node's image store, and imagePullPolicy Never"):
        lent(folder, job(line.host, pushed), policy="Never")
    assert moved(line) < 10_000

    lent(folder, job(line.host, pushed))
    same = lent(folder, job(line.host, pushed), "b", policy="Never")[1] == DISK

    assert same


def test_never_says_that_its_registry_could_not_be_asked(folder: Path, pushed: Publisher) -> None:
    with pytest.raises(NotStored, match=r"asked whether you may use it: .*127.0.0.1:1"):
        lent(folder, job("127.0.0.1:1", pushed), policy="Never")


# Other tenants.


def test_another_tenant_shows_first_that_it_could_fetch_the_image(
    folder: Path, pushed: Publisher, store: Path, tmp_path: Path
) -> None:
    pushed.push(tar([entry("disk/vm.img", DISK)]))
    with (
        registry(tmp_path / "r", store, auth=passwords(tmp_path / "r")) as guarded,
        wire(guarded.host) as line,
    ):
        ann = job(line.host, pushed, access_key=USER, secret_key=PASSWORD)
        lent(folder, ann, tenant="ann")
        moved(line)

        for policy in ("Always", "IfNotPresent"):
            with pytest.raises(AccessDenied):
                lent(folder, replace(ann, access_key="", secret_key=""), "b", tenant="eve", policy=policy)
        with pytest.raises(NotStored, match="no access to the image"):
            lent(folder, replace(ann, secret_key="guessed"), "b", tenant="eve", policy="Never")
        result, disk = lent(folder, ann, "c", tenant="bob")

        same = disk == DISK
        assert same
        assert (result.bytes_fetched, moved(line) < 50_000) == (0, True)


def test_a_tenant_whose_secret_changed_is_asked_for_it_again(
    folder: Path, pushed: Publisher, store: Path, tmp_path: Path
) -> None:
    pushed.push(tar([entry("disk/vm.img", DISK)]))
    with registry(tmp_path / "r", store, auth=passwords(tmp_path / "r")) as guarded:
        ann = job(guarded.host, pushed, access_key=USER, secret_key=PASSWORD)
        lent(folder, ann)

        with pytest.raises(AccessDenied):
            lent(folder, replace(ann, secret_key="another"), "b")


# DataVolumes.


def test_a_disk_is_copied_out_of_the_store(
    folder: Path, pushed: Publisher, line: Wire, tmp_path: Path
) -> None:
    first = copied(folder, job(line.host, pushed), tmp_path / "one.img")
    before = moved(line)
    second = copied(folder, job(line.host, pushed), tmp_path / "two.img")

    same = (tmp_path / "one.img").read_bytes() == (tmp_path / "two.img").read_bytes() == DISK
    assert same
    assert (first.stored, second.stored) == (False, True)
    assert first.bytes_fetched > len(DISK) * 0.9
    assert before > len(DISK)
    assert (second.bytes_fetched, moved(line) < 10_000) == (0, True)


def checked(images: ImageServer, **fields: Any) -> ImportJob:
    content = (images.root / "disk.qcow2").read_bytes()
    return ImportJob(
        "http", images.url("disk.qcow2"), checksum=f"sha256:{hashlib.sha256(content).hexdigest()}", **fields
    )


def test_a_file_with_a_checksum_is_fetched_once(folder: Path, images: ImageServer, tmp_path: Path) -> None:
    def take(name: str) -> Result:
        return stored.filled(checked(images), Lending(str(folder), name), Target(tmp_path / name), silent)

    first, second = take("one"), take("two")

    same = (
        (tmp_path / "one").read_bytes()
        == (tmp_path / "two").read_bytes()
        == (images.root / "disk.raw").read_bytes()
    )
    assert same
    assert (second.stored, second.bytes_fetched, first.digest) == (True, 0, second.digest)
    assert first.digest == checked(images).checksum


def test_a_file_without_one_is_not_kept(folder: Path, images: ImageServer, tmp_path: Path) -> None:
    plain = replace(checked(images), checksum="")

    result = stored.filled(plain, Lending(str(folder), "a"), Target(tmp_path / "disk.img"), silent)

    assert (result.stored, folder.exists()) == (False, False)


def test_a_wrong_checksum_leaves_nothing(folder: Path, images: ImageServer, tmp_path: Path) -> None:
    wrong = replace(checked(images), checksum="sha256:" + "0" * 64)

    with pytest.raises(ChecksumMismatch):
        copied(folder, wrong, tmp_path / "disk.img")

    assert ImageStore(folder).found() == []
    assert not list((folder / "incoming").iterdir())
    assert not (tmp_path / "disk.img").exists()


def test_a_disk_that_does_not_fit_is_refused_before_it_is_fetched(
    folder: Path, pushed: Publisher, line: Wire, tmp_path: Path
) -> None:
    small = Target(tmp_path / "disk.img", room=1 << 19)

    with pytest.raises(ImageTooLarge, match="larger than the reported available storage 524288"):
        stored.filled(job(line.host, pushed), Lending(str(folder), "default"), small, silent)

    assert ImageStore(folder).found() == []


def test_progress_never_falls(folder: Path, pushed: Publisher, line: Wire, tmp_path: Path) -> None:
    seen: list[Progress] = []

    stored.filled(
        job(line.host, pushed), Lending(str(folder), "default"), Target(tmp_path / "disk.img"), seen.append
    )

    percents = [each.percent for each in seen]
    assert percents == sorted(percents)
    assert [each.phase for each in seen].count("complete") == 1
    assert seen[-1].phase == "complete"


def test_where_blocks_can_be_shared_each_disk_takes_no_room_of_its_own(
    pushed: Publisher, line: Wire, tmp_path: Path
) -> None:
    with loops.reflinking(tmp_path / "shared", "xfs") as place:
        copied(place / "images", job(line.host, pushed), place / "one.img")
        before = os.statvfs(place).f_bfree
        results = [
            copied(place / "images", job(line.host, pushed), place / f"{name}.img") for name in "abcdefgh"
        ]

        taken = (before - os.statvfs(place).f_bfree) * os.statvfs(place).f_frsize
        same = all((place / f"{name}.img").read_bytes() == DISK for name in "abcdefgh")
    assert same
    assert taken < len(DISK)
    assert {each.virtual_size for each in results} == {len(DISK)}


def test_a_datavolume_of_another_tenant_shows_first_that_it_could_fetch_the_image(
    folder: Path, pushed: Publisher, store: Path, tmp_path: Path
) -> None:
    pushed.push(tar([entry("disk/vm.img", DISK)]))
    with registry(tmp_path / "r", store, auth=passwords(tmp_path / "r")) as guarded:
        ann = job(guarded.host, pushed, access_key=USER, secret_key=PASSWORD)
        copied(folder, ann, tmp_path / "ann.img", "ann")

        for guess in (replace(ann, access_key="", secret_key=""), replace(ann, secret_key="guessed")):
            with pytest.raises(AccessDenied):
                copied(folder, guess, tmp_path / "eve.img", "eve")
        result = copied(folder, ann, tmp_path / "bob.img", "bob")

    assert (result.stored, (tmp_path / "eve.img").exists()) == (True, False)


def test_a_checksum_alone_is_no_right_to_a_file(folder: Path, images: ImageServer, tmp_path: Path) -> None:
    private = replace(checked(images), endpoint=images.url("private/disk.qcow2"))
    ann = replace(private, access_key="ann", secret_key="secret")
    copied(folder, ann, tmp_path / "ann.img", "ann")

    for guess in (private, replace(ann, secret_key="guessed")):
        with pytest.raises(AccessDenied):
            copied(folder, guess, tmp_path / "eve.img", "eve")
    result = copied(folder, ann, tmp_path / "bob.img", "bob")

    assert (result.stored, (tmp_path / "eve.img").exists()) == (True, False)


@pytest.mark.parametrize("size", ["512k", "8m,nr_inodes=3"], ids=["no bytes", "no names"])
def test_a_store_that_is_full_leaves_an_import_to_itself(
    pushed: Publisher, line: Wire, tmp_path: Path, size: str
) -> None:
    with loops.small_place(tmp_path / "small", size) as full:
        result = copied(full / "images", job(line.host, pushed), tmp_path / "disk.img")

    same = (tmp_path / "disk.img").read_bytes() == DISK
    assert same
    assert (result.stored, result.virtual_size) == (False, len(DISK))
