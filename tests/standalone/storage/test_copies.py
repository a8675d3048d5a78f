"""Copies of volumes: as they are, with their holes, complete or not there at all."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from diskyard.api.meta import Key
from diskyard.errors import SourceChanged
from standalone.storage.copies import UNFINISHED, Copies, Copy, stayed
from tests.builders import eventually
from tests.disk import images, loops
from tests.disk.images import MIB

CLAIM = Key("copy", "default")


def copied(source: Path, target: Path, copies: Copies | None = None) -> Copy:
    copies = copies or Copies()
    copies.begin(CLAIM, source, target)
    copy = copies.look(CLAIM)
    assert copy is not None
    eventually(lambda: copy.over, 60)
    return copy


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    images.raw(folder / "disk.img", 256 * MIB)
    (folder / "more").mkdir()
    (folder / "more" / "words").write_text("words")
    (folder / "link").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    (folder / "disk.img").chmod(0o660)
    return folder


def test_everything_is_copied_as_it_is_and_holes_are_holes(source: Path, tmp_path: Path) -> None:
    copy = copied(source, tmp_path / "target")

    assert copy.failure == ""
    target = tmp_path / "target"
    assert images.same(source / "disk.img", target / "disk.img")
    assert images.allocated(target / "disk.img") <= images.allocated(source / "disk.img") + MIB
    assert (target / "more" / "words").read_text() == "words"
    assert (target / "link").readlink() == Path("/etc/passwd")
    assert not (target / "pipe").exists()
    assert (target / "disk.img").stat().st_mode & 0o777 == 0o660


def test_a_directory_that_became_a_link_is_not_followed(source: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "secret").write_text("secret")
    (source / "way").symlink_to(elsewhere)

    copied(source, tmp_path / "target")

    assert (tmp_path / "target" / "way").is_symlink()
    assert not (tmp_path / "target" / "way").resolve().is_relative_to(tmp_path / "target")


def test_a_copy_without_room_leaves_nothing_and_says_why(source: Path, small_place: Path) -> None:
    copy = copied(source, small_place / "target")
    assert "No space left" in copy.failure
    assert list(small_place.iterdir()) == []


def test_a_failed_copy_is_begun_again(source: Path, small_place: Path, tmp_path: Path) -> None:
    copies = Copies()
    assert copied(source, small_place / "target", copies).failure
    (source / "disk.img").unlink()
    assert copied(source, small_place / "target", copies).failure == ""


def test_a_copy_that_nobody_wants_any_more_leaves_nothing(source: Path, tmp_path: Path) -> None:
    copies = Copies()
    copies.begin(CLAIM, source, tmp_path / "target")
    copy = copies.look(CLAIM)
    assert copy is not None
    copies.drop(CLAIM)
    eventually(lambda: copy.over, 60)
    if copy.stopped.is_set():
        assert not (tmp_path / "target").exists()
    assert not (tmp_path / f"target{UNFINISHED}").exists()


@pytest.mark.parametrize("way", ["disappears", "shrinks"])
def test_of_a_source_that_goes_meanwhile_nothing_is_kept_but_what_is_whole(
    source: Path, tmp_path: Path, way: str
) -> None:
    """Whoever is quicker: the copy is whole, or it says why there is none."""
    with (source / "noise").open("wb") as file:
        file.write(os.urandom(64 * MIB))
    copies = Copies()
    copies.begin(CLAIM, source, tmp_path / "target")
    if way == "disappears":
        source.rename(tmp_path / "source.deleting")
    else:
        os.truncate(source / "noise", 5 * MIB)
    copy = copies.look(CLAIM)
    assert copy is not None
    eventually(lambda: copy.over, 60)

    if copy.failure:
        assert not (tmp_path / "target").exists()
        assert not (tmp_path / f"target{UNFINISHED}").exists()
    else:
        assert (tmp_path / "target" / "noise").stat().st_size in (64 * MIB, 5 * MIB)


def test_a_volume_that_was_taken_away_is_not_taken_for_whole(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    folder = os.open(tmp_path / "source", os.O_RDONLY | os.O_DIRECTORY)
    try:
        stayed(folder, tmp_path / "source")
        (tmp_path / "source").rename(tmp_path / "source.deleting")
        with pytest.raises(SourceChanged, match="was deleted while it was copied"):
            stayed(folder, tmp_path / "source")
    finally:
        os.close(folder)


def test_blocks_are_shared_where_the_file_system_can(source: Path, reflinking: Path) -> None:
    subprocess.run(["cp", "-a", "--sparse=always", source, reflinking / "source"], check=True)
    before = os.statvfs(reflinking).f_bfree

    copy = copied(reflinking / "source", reflinking / "target")

    assert (copy.failure, copy.reflinked) == ("", True)
    assert images.same(source / "disk.img", reflinking / "target" / "disk.img")
    assert (before - os.statvfs(reflinking).f_bfree) * os.statvfs(reflinking).f_frsize < 2 * MIB


@pytest.fixture
def small_place(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 1 MiB."""
    with loops.small_place(tmp_path / "small", "1m") as found:
        yield found


@pytest.fixture(params=["xfs", "btrfs"])
def reflinking(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system that shares blocks between files."""
    with loops.reflinking(tmp_path / "shared", request.param) as found:
        yield found
