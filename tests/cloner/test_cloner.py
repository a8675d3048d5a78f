"""A whole copy between two processes: every pair of volumes, and kill -9 of either end."""

import os
import ssl
import tarfile
from pathlib import Path

import pytest

from tests.cloner.conftest import Copying, keys, kill
from tests.disk import images
from tests.disk.images import MIB
from tests.disk.loops import loop

COST = 64 * MIB


def volume(path: Path) -> Path:
    path.mkdir()
    return path


def noise(folder: Path, size: int, hole: int = 0) -> Path:
    """A disk of noise with a hole behind it."""
    disk = folder / "disk.img"
    with disk.open("wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
        file.truncate(size + hole)
    return disk


def test_a_disk_is_copied_without_its_holes(copying: Copying) -> None:
    source, target = volume(copying.folder / "source"), volume(copying.folder / "target")
    disk = images.raw(source / "disk.img", 512 * MIB)
    copying.cloner(volume=source)

    copying.copied(volume=target)

    assert images.same(disk, target / "disk.img")
    assert copying.wire.received < 8 * MIB
    assert images.allocated(target / "disk.img") < 10 * MIB


@pytest.mark.parametrize("way", ["file to device", "device to file", "device to device"])
def test_disks_go_between_files_and_devices(copying: Copying, way: str) -> None:
    size = 24 * MIB
    with loop(copying.folder / "one", size) as source, loop(copying.folder / "two", size) as target:
        disk = images.raw(volume(copying.folder / "source") / "disk.img", size)
        there = volume(copying.folder / "target")
        if way.startswith("device"):
            source.write_bytes(disk.read_bytes())
            copying.cloner(device=source)
        else:
            copying.cloner(volume=disk.parent)

        copying.copied(**({"device": target} if way.endswith("device") else {"volume": there}))

        found = target if way.endswith("device") else there / "disk.img"
        assert found.read_bytes() == disk.read_bytes()


def test_an_importer_that_is_killed_goes_on_where_it_was(copying: Copying) -> None:
    source, target = volume(copying.folder / "source"), volume(copying.folder / "target")
    disk = noise(source, 160 * MIB, 64 * MIB)
    copying.cloner(volume=source)
    copying.wire.at = 130 * MIB
    copying.wire.trap = lambda: kill(copying.processes[-1])
    assert copying.importer(volume=target).wait(120) == -9

    copying.copied(volume=target)

    assert images.same(disk, target / "disk.img")
    assert copying.wire.received <= 160 * MIB + COST + 8 * MIB
    assert images.left_behind(target) == ["disk.img"]


def test_a_device_whose_importer_is_killed_is_gone_on_with(copying: Copying) -> None:
    disk = noise(volume(copying.folder / "source"), 80 * MIB)
    copying.cloner(volume=disk.parent)
    with loop(copying.folder / "two", 80 * MIB) as target:
        copying.wire.at = 72 * MIB
        copying.wire.trap = lambda: kill(copying.processes[-1])
        assert copying.importer(device=target).wait(120) == -9

        message = copying.copied(device=target)

        same = target.read_bytes() == disk.read_bytes()
    assert same
    assert copying.wire.received <= 80 * MIB + COST + 8 * MIB
    assert message.bytes_fetched < 80 * MIB


def test_a_cloner_that_is_killed_is_asked_again(copying: Copying) -> None:
    source, target = volume(copying.folder / "source"), volume(copying.folder / "target")
    disk = noise(source, 96 * MIB)
    first = copying.cloner(volume=source)
    copying.wire.at = 48 * MIB
    copying.wire.trap = lambda: (kill(first), copying.cloner(volume=source))

    copying.copied(volume=target)

    assert images.same(disk, target / "disk.img")
    assert copying.wire.received <= 96 * MIB + COST


def test_files_are_copied_as_they_are(copying: Copying) -> None:
    source, target = volume(copying.folder / "source"), volume(copying.folder / "target")
    (source / "folder").mkdir()
    (source / "folder" / "words").write_text("words " * 100_000)
    (source / "empty").write_text("")
    (source / "lost+found").mkdir()
    copying.cloner(volume=source)

    copying.copied("archive", volume=target)

    assert (target / "folder" / "words").read_text() == "words " * 100_000
    assert sorted(path.name for path in target.iterdir() if not path.name.startswith(".")) == [
        "empty",
        "folder",
    ]


def test_a_source_that_shrinks_under_its_copy_becomes_no_disk_and_is_named(copying: Copying) -> None:
    source, target = volume(copying.folder / "source"), volume(copying.folder / "target")
    disk = noise(source, 96 * MIB)
    copying.cloner(volume=source)
    copying.wire.at = 32 * MIB
    copying.wire.trap = lambda: os.truncate(disk, MIB)

    importer = copying.importer(volume=target)
    _, said = importer.communicate(timeout=120)

    assert importer.returncode != 0, said
    told = (copying.folder / "end").read_text()
    assert f"{disk} ends at" in told or "was written to while it was read" in told, told
    assert not (target / "disk.img").exists()


@pytest.mark.parametrize("end", ["cloner", "importer"])
def test_files_whose_copy_is_killed_begin_again(copying: Copying, end: str) -> None:
    source, target = volume(copying.folder / "source"), volume(copying.folder / "target")
    noise(source, 64 * MIB)  # more than what the network's buffers hold of it
    (source / "words").write_text("words")
    first = copying.cloner(volume=source)
    copying.wire.at = 4 * MIB
    copying.wire.trap = lambda: kill(first if end == "cloner" else copying.processes[-1])
    importer = copying.importer("archive", volume=target)
    importer.communicate(timeout=120)
    assert importer.returncode != 0

    if end == "cloner":
        copying.cloner(volume=source)
    copying.copied("archive", volume=target)

    assert (target / "words").read_text() == "words"
    same = (target / "disk.img").read_bytes() == (source / "disk.img").read_bytes()
    assert same
    assert images.left_behind(target) == ["disk.img", "words"]


def test_nobody_is_answered_without_the_keys_of_this_copy(copying: Copying) -> None:
    noise(volume(copying.folder / "source"), MIB)
    copying.cloner(volume=copying.folder / "source")
    keys(copying.folder / "keys")  # the importer has those of another copy

    importer = copying.importer(volume=volume(copying.folder / "target"))
    with pytest.raises(ssl.SSLError):
        _shaken(copying)
    importer.kill()

    assert images.left_behind(copying.folder / "target") in ([], [".disk.img.journal"])


def _shaken(copying: Copying) -> None:
    import socket  # noqa: PLC0415

    context = ssl.create_default_context(cafile=copying.folder / "keys" / "ca.crt")
    with (
        socket.create_connection(("127.0.0.1", copying.wire.port), timeout=30) as link,
        context.wrap_socket(link, server_hostname="clone-source"),
    ):
        pass


def test_an_archive_is_read_as_tar_by_anybody(tmp_path: Path) -> None:
    from cloner.volume import SourceVolume  # noqa: PLC0415

    folder = volume(tmp_path / "source")
    (folder / "words").write_text("words")
    with (tmp_path / "all.tar").open("wb") as file:
        SourceVolume(folder, tmp_path / "none").files(file.write)
    with tarfile.open(tmp_path / "all.tar") as tar:
        assert tar.getnames() == ["words"]
