"""The other door into a volume: a tar archive becomes the files of a directory (contentType archive).

All is unpacked into a hidden directory beside the volume's own files, made durable and verified, and only then
moved to its place. Nothing leads out: no absolute names, no `..`, no link to elsewhere, no device, no set-uid.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from itertools import takewhile
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
_ENTRY: Final = 256
"""Bytes of memory that a directory takes beside its name."""
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
        tree.modes.give(target.folder)
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


class Modes:
    """Modes and times of directories below one, given last: a mode may forbid to write."""

    def __init__(self, most: int = 32 << 20) -> None:
        """`most`: bytes of memory that they may take."""
        self._most = most
        self._taken = 0
        self._of: dict[str, tuple[int, int]] = {}

    def keep(self, name: str, member: Member) -> None:
        """Note what one directory shall have. Raises UnsafeImage."""
        if name not in self._of:
            self._taken += len(name) + _ENTRY
        if self._taken > self._most:
            raise UnsafeImage(f"the archive has more than {len(self._of)} directories: expected fewer")
        self._of[name] = member.mode & _MODE, member.changed

    def give(self, root: Path) -> None:
        """Give each its own, the deepest first."""
        for name in sorted(self._of, reverse=True, key=_depth):
            mode, changed = self._of[name]
            (root / name).chmod(mode)
            os.utime(root / name, (changed, changed))


def _depth(name: str) -> int:
    return name.count("/")


class _Tree:
    """Files below one directory, made from members that are not trusted."""

    def __init__(self, root: Path, room: int | None) -> None:
        self.written = 0
        self._root = root
        self._room = space.free(root) if room is None else min(room, space.free(root))
        self._made = 0
        self._last: tuple[str, ...] = ()
        """The folder that the last member lies in."""
        self.modes = Modes()
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
        path = self._root.joinpath(*parts)
        self._above(parts[:-1])
        if member.kind is Kind.FOLDER:
            self._folder(path)
            self.modes.keep("/".join(parts), member)
            return
        if _is_folder(path):
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

    def _above(self, parts: tuple[str, ...]) -> None:
        """Make the directories that a member lies in; those of the one before it are there."""
        same = sum(
            1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(parts, self._last, strict=False))
        )
        for length in range(same + 1, len(parts) + 1):
            self._folder(self._root.joinpath(*parts[:length]))
        self._last = parts

    def _folder(self, path: Path) -> None:
        """Make a directory where there is none. What is not one, a link above all, is not gone through."""
        try:
            path.mkdir(mode=0o755)
        except FileExistsError as error:
            if not _is_folder(path):
                raise UnsafeImage(
                    f"the archive goes through {str(path.relative_to(self._root))!r}, which is no directory in it. "
                    f"{_PACK_AGAIN}"
                ) from error
            return
        self._made += 1
        if self._made > MAX_MEMBERS:
            raise UnsafeImage(f"the archive has more than {MAX_MEMBERS} directories: expected fewer")

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


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


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
        if _is_folder(entry) and _is_folder(to):
            _move(entry, to)
            continue
        if _is_folder(to):
            raise Busy(f"{to} is a directory already, and a file in the archive: empty the volume")
        if _is_folder(entry):
            with suppress(FileNotFoundError):
                to.unlink()
        entry.replace(to)
