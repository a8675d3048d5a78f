"""The other door into a volume: a tar archive becomes the files of a directory (contentType archive).

All is unpacked into a hidden directory beside the volume's own files, made durable and verified, and only then
moved to its place. Nothing leads out: no absolute names, no `..`, no link to elsewhere, no device, no set-uid.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from diskyard import linux
from diskyard.disk import place, space
from diskyard.disk.archive import MAX_MEMBERS, Archive, Kind, Member
from diskyard.disk.head import Headed
from diskyard.disk.probe import COMPRESSIONS, Format, probe
from diskyard.disk.source import Source
from diskyard.disk.tap import Tap
from diskyard.disk.target import NOTHING, Expect, OnProgress, Progress, Result, Target, silent
from diskyard.disk.unpack import Unpacked
from diskyard.errors import Busy, ImageTooLarge, InvalidRequest, UnsafeImage, UnsupportedImage

_HIDDEN: Final = ".diskyard-archive"
_HEAD: Final = 64 << 10
_CHUNK: Final = 1 << 20
_NAME_MAX: Final = 255
_PACK_AGAIN: Final = "Pack it again without it"
_MODE: Final = 0o777
"""Bits of a mode that are kept."""


def extract(
    source: Source, target: Target, *, expect: Expect = NOTHING, on_progress: OnProgress = silent
) -> Result:
    """Unpack a tar, also inside gz, xz, bz2 or zst, into the target's directory; a stream that starts over.

    Raises InvalidRequest, UnsafeImage, UnsupportedImage, ImageTooLarge, ChecksumMismatch, NoSpace, Busy.
    """
    if linux.is_device(target.path):
        raise InvalidRequest(
            "an archive is unpacked into a directory, and this volume is a block device: use volumeMode Filesystem"
        )
    place.opened(target)
    with closing(place.journal(target)), _hidden(target.folder) as folder:
        headed = Headed(source)
        digest = expect.computed()
        tap = Tap(headed, digest)
        tree = _Tree(folder, target.room)
        archive = Archive(_opened(headed, tap))
        for member in archive:
            tree.add(member, archive)
            on_progress(_progress(tap, tree.written))
        archive.finish()
        said = expect.said(digest)
        linux.sync_volume(folder)
        _move(folder, target.folder)
        tree.settle(target.folder)
        linux.sync_volume(target.folder)
        on_progress(replace(_progress(tap, tree.written), phase="complete", percent=100.0))
        return Result(Format.TAR, tree.written, headed.fetched, tree.written, said)


def _opened(headed: Headed, tap: Tap) -> Source:
    """The archive's own bytes. Raises UnsupportedImage where there is no archive."""
    kind, body = probe(headed.head(_HEAD)), Headed(tap)
    if kind in COMPRESSIONS:
        body = Headed(Unpacked(tap, kind))
        kind = probe(body.head(_HEAD))
    if kind not in (Format.TAR, Format.RAW):  # raw: tars from before 1988 have no mark, but a checksum
        raise UnsupportedImage(
            f"expected a tar archive (contentType archive), found {kind}: correct the contentType"
        )
    return body


def _progress(tap: Tap, written: int) -> Progress:
    percent = min(1.0, tap.position / tap.size) * 100 if tap.size else 0.0
    return Progress("transferring", tap.position, tap.size, written, percent)


@contextmanager
def _hidden(folder: Path) -> Iterator[Path]:
    """A directory that is gone afterwards; what a killed run has left is removed first."""
    path = folder / _HIDDEN
    if path.is_symlink():
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


class _Tree:
    """Files below one directory, made from members that are not trusted."""

    def __init__(self, root: Path, room: int | None) -> None:
        self.written = 0
        self._root = root
        self._room = space.free(root) if room is None else min(room, space.free(root))
        self._folders: dict[tuple[str, ...], Member | None] = {(): None}
        self._buf = memoryview(bytearray(_CHUNK))

    def add(self, member: Member, archive: Archive) -> None:
        """Make one member, its body from the archive."""
        parts = member.parts
        if member.name.startswith("/") or ".." in parts:
            raise UnsafeImage(
                f"the archive has {member.name!r}, which leads out of the volume. {_PACK_AGAIN}"
            )
        if any(len(os.fsencode(part)) > _NAME_MAX for part in parts):
            raise UnsafeImage(f"the archive has a name that is longer than {_NAME_MAX} bytes. {_PACK_AGAIN}")
        try:
            self._make(parts, member, archive)
        except OSError as error:
            if error.errno in space.FULL:
                raise space.full(self._root, "unpacking the archive") from error
            raise

    def _make(self, parts: tuple[str, ...], member: Member, archive: Archive) -> None:
        if not parts:
            return
        for length in range(1, len(parts)):
            self._folder(parts[:length], None)
        path = self._root.joinpath(*parts)
        if member.kind is Kind.FOLDER:
            self._folder(parts, member)
            return
        if parts in self._folders:
            raise UnsafeImage(
                f"the archive has {member.name!r} as a directory and as a {member.kind}. {_PACK_AGAIN}"
            )
        path.unlink(missing_ok=True)  # as tar does: the later of two wins
        if member.kind is Kind.FILE:
            self._file(path, member, archive)
        elif member.kind is Kind.SYMLINK:
            path.symlink_to(_inside(member))
        elif member.kind is Kind.HARD_LINK:
            path.hardlink_to(self._linked(member))
        else:
            raise UnsafeImage(
                f"the archive has {member.name!r}, a {member.kind}: expected files, directories and links. "
                f"{_PACK_AGAIN}"
            )

    def settle(self, root: Path) -> None:
        """Give directories their modes: last, for a mode may forbid to write."""
        for parts, member in sorted(self._folders.items(), reverse=True, key=lambda each: len(each[0])):
            if member is not None:
                path = root.joinpath(*parts)
                path.chmod(member.mode & _MODE)
                os.utime(path, (member.changed, member.changed))

    def _folder(self, parts: tuple[str, ...], member: Member | None) -> None:
        """Make a directory where there is none. What is not one, a link above all, is not gone through."""
        if parts not in self._folders:
            if len(self._folders) > MAX_MEMBERS:
                raise UnsafeImage(f"the archive has more than {MAX_MEMBERS} directories: expected fewer")
            path = self._root.joinpath(*parts)
            try:
                path.mkdir(mode=0o755)
            except FileExistsError as error:
                raise UnsafeImage(
                    f"the archive goes through {'/'.join(parts)!r}, which is no directory in it. {_PACK_AGAIN}"
                ) from error
        if member is not None or parts not in self._folders:
            self._folders[parts] = member

    def _file(self, path: Path, member: Member, archive: Archive) -> None:
        if self.written + member.size > self._room:
            raise ImageTooLarge(
                f"the archive's files have more than {self.written + member.size} bytes, and the volume has room for "
                f"{self._room}. A larger PVC is required"
            )
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            left = member.size
            while left:
                count = archive.readinto(self._buf) or 0
                _write(fd, self._buf[:count])
                left -= count
            os.fchmod(fd, member.mode & _MODE)
            os.utime(fd, (member.changed, member.changed))
        finally:
            os.close(fd)
        self.written += member.size

    def _linked(self, member: Member) -> Path:
        """A hard link's other end: a file that has come before."""
        parts = replace(member, name=member.target).parts
        path = self._root.joinpath(*parts)
        through = [self._root.joinpath(*parts[:length]) for length in range(1, len(parts) + 1)]
        if member.target.startswith("/") or ".." in parts or any(part.is_symlink() for part in through):
            raise UnsafeImage(
                f"the archive links {member.name!r} to {member.target!r}, out of it. {_PACK_AGAIN}"
            )
        if not path.is_file():
            raise UnsupportedImage(
                f"the archive links {member.name!r} to {member.target!r}, which is not in it"
            )
        return path


def _inside(member: Member) -> str:
    """A link's target that stays inside wherever other links lead: `..` only at its start, and not too often."""
    parts = member.target.split("/")
    up = next((place for place, part in enumerate(parts) if part != ".."), len(parts))
    if member.target.startswith("/") or not member.target or ".." in parts[up:] or up >= len(member.parts):
        raise UnsafeImage(
            f"the archive links {member.name!r} to {member.target!r}, out of the volume. {_PACK_AGAIN}"
        )
    return member.target


def _write(fd: int, buf: memoryview) -> None:
    while buf:
        buf = buf[os.write(fd, buf) :]


def _move(source: Path, target: Path) -> None:
    """Everything in one directory goes into another; directories that are in both become one, files are replaced."""
    for entry in sorted(source.iterdir()):
        to = target / entry.name
        entry_is_folder = entry.is_dir() and not entry.is_symlink()
        if entry_is_folder and to.is_dir() and not to.is_symlink():
            _move(entry, to)
            continue
        if to.is_dir() and not to.is_symlink():
            raise Busy(f"{to} is a directory already, and a file in the archive: empty the volume")
        if entry_is_folder:
            with suppress(FileNotFoundError):
                to.unlink()
        entry.replace(to)
