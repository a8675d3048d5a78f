"""Copies of volumes on one node: by reflink where the file system has it, at once; else of the data alone, beside work.

A copy grows under a name of its own and takes the volume's when it is complete: one that a crash has interrupted is
never found under it, and is begun again.
"""

import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from diskyard import linux, log
from diskyard.api.meta import Key
from diskyard.errors import DiskyardError, SourceChanged
from standalone.storage import loop

UNFINISHED: Final = ".copying"
_AT_ONCE: Final = 8 << 20

_log = log.logger("storage")


class Stopped(DiskyardError):
    """Nobody wants the copy any more."""

    reason = "Stopped"


@dataclass
class Copy:
    """One copy, as it stands."""

    path: Path
    stopped: threading.Event = field(default_factory=threading.Event)
    failure: str = ""
    over: bool = False
    reflinked: bool = True
    """Whether no byte was copied so far."""


class Copies:
    """The copies of one node, each on a thread of its own, known by the claim (or content of a snapshot) it is for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Key, Copy] = {}

    def look(self, claim: Key) -> Copy | None:
        """The copy for a claim; None: it was not begun since the node started."""
        with self._lock:
            return self._known.get(claim)

    def begin(self, claim: Key, source: Path, path: Path) -> None:
        """Copy a volume's directory, unless that is under way. A failed one is begun again."""
        with self._lock:
            held = self._known.get(claim)
            if held is not None and held.path == path and not (held.over and held.failure):
                return
            copy = self._known[claim] = Copy(path)
        threading.Thread(target=_run, args=(copy, source), name=f"copy-{path.name}", daemon=True).start()

    def forget(self, claim: Key) -> None:
        """The claim has its volume."""
        with self._lock:
            self._known.pop(claim, None)

    def stop(self, claim: Key) -> None:
        """Have the copy end, if it is under way; forget it, if it is over."""
        with self._lock:
            held = self._known.get(claim)
            if held is not None and held.over:
                del self._known[claim]
            elif held is not None:
                held.stopped.set()

    def drop(self, claim: Key) -> None:
        """The claim is gone: nothing more is copied for it. What is complete may be another claim's by now."""
        with self._lock:
            held = self._known.pop(claim, None)
        if held is not None and not held.over:
            held.stopped.set()


def _run(copy: Copy, source: Path) -> None:
    part = copy.path.with_name(copy.path.name + UNFINISHED)
    try:
        shutil.rmtree(part, ignore_errors=True)
        loop.flush(source)
        part.parent.mkdir(mode=0o700, exist_ok=True)
        with _opened(source) as folder:
            _directory(folder, part, copy)
            stayed(folder, source)
        linux.sync_volume(part)
        part.rename(copy.path)
    except (OSError, DiskyardError) as error:
        copy.failure = str(error)
        shutil.rmtree(part, ignore_errors=True)
        _log.warning("a volume was not copied", source=source, because=error)
    if copy.stopped.is_set():
        shutil.rmtree(copy.path, ignore_errors=True)
    copy.over = True


def stayed(folder: int, source: Path) -> None:
    """Whoever takes a volume away renames it first: whole is only what was copied before. Raises SourceChanged."""
    with suppress(OSError):
        if os.path.samestat(os.fstat(folder), source.stat()):
            return
    raise SourceChanged(f"{source.name} was deleted while it was copied: nothing is kept of the copy")


@contextmanager
def _opened(name: str | Path, folder: int | None = None, flags: int = os.O_DIRECTORY) -> Iterator[int]:
    """Of a volume whoever uses it may put a link in the place of anything, at any moment: none is followed."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | flags, dir_fd=folder)
    try:
        yield fd
    finally:
        os.close(fd)


def _directory(source: int, target: Path, copy: Copy) -> None:
    """Everything in a directory but what is neither file, directory nor link, with owners and modes."""
    target.mkdir(mode=0o770)
    for name in os.listdir(source):
        there = target / name
        mode = os.stat(name, dir_fd=source, follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            there.symlink_to(os.readlink(name, dir_fd=source))
        elif stat.S_ISDIR(mode):
            with _opened(name, source) as folder:
                _directory(folder, there, copy)
        elif stat.S_ISREG(mode):
            with _opened(name, source, 0) as file:
                _file(file, there, copy)
    _alike(os.fstat(source), target)


def _file(source: int, target: Path, copy: Copy) -> None:
    """A file with its holes; by reflink, of one moment, where that works.

    Raises SourceChanged where it is written to while its bytes are copied.
    """
    before = os.fstat(source)
    with target.open("xb") as file:
        if not stat.S_ISREG(before.st_mode):
            raise SourceChanged(f"{target.name} was replaced while it was copied")
        shared = linux.reflinked(file.fileno(), source)
        if not shared:
            copy.reflinked = copy.reflinked and not before.st_size
            os.truncate(file.fileno(), before.st_size)
            _extents(source, file.fileno(), before.st_size, copy.stopped.is_set)
    after = os.fstat(source)
    if not shared and (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise SourceChanged(f"{target.name} was written to while it was copied: stop whoever uses the source")
    _alike(before, target)


def _extents(source: int, target: int, size: int, stopped: Callable[[], bool]) -> None:
    """The data alone. Each step begins to be written at once (mm/fadvise.c): in the end little is left to wait for."""
    begun = pending = 0
    for start, length, hole in linux.extents(source, size):
        at = start
        while not hole and at < start + length:
            if stopped():
                raise Stopped("what the copy was for is gone")
            os.lseek(target, at, os.SEEK_SET)
            count = os.sendfile(target, source, at, min(_AT_ONCE, start + length - at))
            if not count:
                raise SourceChanged(f"a file ended at {at} while it was copied, expected {size} bytes")
            at += count
            pending += count
            if pending >= _AT_ONCE:
                os.posix_fadvise(target, begun, at - begun, os.POSIX_FADV_DONTNEED)
                begun, pending = at, 0


def _alike(facts: os.stat_result, target: Path) -> None:
    with suppress(PermissionError):
        os.chown(target, facts.st_uid, facts.st_gid)
    target.chmod(facts.st_mode & 0o777)
