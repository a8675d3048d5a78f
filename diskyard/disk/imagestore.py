"""Verified images of one node: each is fetched once, by one; many make use of it.

    images/KEY/disk.img, about.json     a complete one; KEY is made of where it comes from and its digest there
    incoming/KEY/                       one on its way: it moves to images/ as a whole
    leases/HOLDER/disk.img, lease.json  another link to an image's file: whoever holds one keeps the bytes
    names/NAME.json                     which image a name meant, when it was asked for last
    locks/KEY                           held (flock) by the one who fetches, lends, drops or evicts that image

A link is a lease: eviction never takes bytes from anybody, and a crash at any step leaves a lease, no lease, or a
folder that `tidy` takes away. Who waits for a lock finds the image there; where its holder was killed, he goes on.
An image is verified before each use: its file must be the one that was written (inode, length, time of the last
write); where that differs, all of its data must still have the sum that it had.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from diskyard import linux
from diskyard.disk import lock, space, stored
from diskyard.disk.image import FileImage
from diskyard.disk.stored import Entry, Identity
from diskyard.disk.target import Result, Target
from diskyard.errors import ImageTooLarge, InvalidRequest, NoSpace
from diskyard.log import logger

DISK: Final = "disk.img"
KEEP: Final = 14 * 24 * 3600.0
"""Seconds that an image which nobody uses is kept."""
RESERVE: Final = 1 << 30
"""Bytes (of a small file system a twentieth) that images leave free."""
_ABOUT: Final = "about.json"
_LEASE: Final = "lease.json"
_GONE: Final = ".gone"
_MODE: Final = 0o440

Fill = Callable[[Target], Result]
"""Fetches an image into a target, through ingest."""

log = logger("images")


@dataclass(frozen=True)
class Found:
    """What `diskyard images` lists."""

    entry: Entry
    taken: int
    used: float
    """When last, in seconds of Unix time."""
    users: tuple[str, ...]


class ImageStore:
    """The store in one folder; several processes use it at a time."""

    def __init__(self, folder: Path) -> None:
        """Makes what is missing of the folder. Raises OSError."""
        self.folder = folder
        for name in ("images", "incoming", "leases", "names", "locks"):
            path = folder / name
            if not path.is_dir():
                path.mkdir(mode=0o770, parents=True, exist_ok=True)
                stored.like(folder, path)

    def lease(
        self, what: Identity, holder: str, who: str, fill: Fill | None = None
    ) -> tuple[Entry, Result | None] | None:
        """Give `holder` (a plain name) the image at `leases/HOLDER/disk.img`; `who` is for people.

        What is not there is filled: then there is a Result too. None: not there, and nothing fills it.
        Raises what `fill` raises, NoSpace.
        """
        place = self.leased(holder).parent
        with self._held(what.key):
            got = self._ready(what, fill)
            if got is None:
                return None
            place.mkdir(mode=0o770, exist_ok=True)
            stored.write(place / _LEASE, {"key": what.key, "who": who})
            part = place / f".{DISK}"
            part.unlink(missing_ok=True)
            os.link(self._disk(what.key), part)
            part.rename(place / DISK)
        return got

    def leased(self, holder: str) -> Path:
        """Where a holder finds its image. Raises InvalidRequest for what is no plain name."""
        if not holder or holder.startswith(".") or "/" in holder or len(holder) > 255:
            raise InvalidRequest(f"expected a plain name of a lease, found {holder!r}")
        return self.folder / "leases" / holder / DISK

    def release(self, holder: str) -> None:
        """Take a lease away; who has the file open keeps it until he closes it."""
        self._discard(self.leased(holder).parent)

    def opened(
        self, what: Identity, fill: Fill | None = None
    ) -> tuple[Entry, Result | None, FileImage] | None:
        """The same for one who only copies: the image, open; it stays whole until that is closed."""
        with self._held(what.key):
            got = self._ready(what, fill)
            return got and (*got, FileImage(self._disk(what.key)))

    def remember(self, name: str, what: Identity) -> None:
        """What a name means now. The name says all on which its meaning depends: who asks, by what credentials."""
        stored.write(self._name(name), asdict(what))

    def recalled(self, name: str) -> Identity | None:
        """What it meant when it was remembered; None: it never was."""
        return stored.identity(stored.read(self._name(name)))

    def found(self) -> list[Found]:
        """All images, the one used last first."""
        users: dict[str, list[str]] = {}
        for place in sorted((self.folder / "leases").glob("[!.]*")):
            said = stored.read(place / _LEASE) or {}
            users.setdefault(str(said.get("key")), []).append(str(said.get("who") or place.name))
        found = []
        for place in (self.folder / "images").glob("[!.]*"):
            with suppress(FileNotFoundError):  # evicted meanwhile
                entry = stored.entry(stored.read(place / _ABOUT))
                used = (place / _ABOUT).stat().st_mtime
                if entry is not None:
                    using = tuple(users.get(place.name, ()))
                    found.append(Found(entry, space.taken(place / DISK), used, using))
        return sorted(found, key=lambda each: each.used, reverse=True)

    def evict(self, age: float = KEEP, enough: Callable[[], bool] = lambda: True) -> list[Entry]:
        """Take away images that nobody holds: those not used for `age` seconds, then others until `enough` is true.

        The one used longest ago goes first. What was evicted is given.
        """
        now, gone = time.time(), []
        for each in reversed(self.found()):
            if each.used > now - age and enough():
                continue
            if self._evicted(each.entry.identity.key):
                gone.append(each.entry)
                log.info("evicted", **asdict(each.entry.identity), taken=each.taken)
        return gone

    def tidy(self, alive: Callable[[str], bool], age: float = KEEP) -> None:
        """End leases whose holder is not alive; take away what crashes left, and transfers that nobody goes on with.

        `alive` is asked when all leases have been listed: a holder that it does not know was not there before.
        """
        for place in list((self.folder / "leases").glob("[!.]*")):
            if not alive(place.name):
                self._discard(place)
        now = time.time()
        for place in (self.folder / "incoming").glob("[!.]*"):
            with self._held(place.name, wait=False) as held, suppress(FileNotFoundError):
                if held and place.stat().st_mtime < now - age:
                    self._discard(place)
        for path in (self.folder / "names").glob("[!.]*"):
            what = stored.identity(stored.read(path))
            with suppress(FileNotFoundError):
                if (what is None or not self._disk(what.key).exists()) and path.stat().st_mtime < now - age:
                    path.unlink()
        for path in self.folder.glob(f"*/{_GONE}-*"):
            shutil.rmtree(path, ignore_errors=True)

    def _evicted(self, key: str) -> bool:
        """Whether it was not held, and is gone now."""
        with self._held(key, wait=False) as held:
            disk = self._disk(key)
            if not held or not disk.exists() or disk.stat().st_nlink > 1:
                return False
            self._discard(disk.parent)
            (self.folder / "locks" / key).unlink(missing_ok=True)
            return True

    def _ready(self, what: Identity, fill: Fill | None) -> tuple[Entry, Result | None] | None:
        """The image, verified, or made; the caller holds its lock."""
        entry = self._sound(what.key)
        if entry is not None:
            os.utime(self._disk(what.key).with_name(_ABOUT))
            return entry, None
        return self._made(what, fill) if fill else None

    def _sound(self, key: str) -> Entry | None:
        """The image there, if it is what was put there; another one is dropped."""
        disk = self._disk(key)
        entry = stored.entry(stored.read(disk.with_name(_ABOUT)))
        if entry is None or not entry.sum or not disk.is_file() or disk.is_symlink():
            self._discard(disk.parent)
            return None
        if entry.stamp == stored.stamp(disk):
            return entry
        if stored.content(disk) == entry.sum:
            entry = replace(entry, stamp=stored.stamp(disk))
            stored.write(disk.with_name(_ABOUT), stored.said(entry))
            return entry
        log.warning("an image is not what it was: it is fetched again", path=disk, **asdict(entry.identity))
        self._discard(disk.parent)
        return None

    def _made(self, what: Identity, fill: Fill) -> tuple[Entry, Result | None]:
        folder = self.folder / "incoming" / what.key
        folder.mkdir(mode=0o770, exist_ok=True)
        disk, about = folder / DISK, folder / _ABOUT
        entry, result = stored.entry(stored.read(about)), None
        if entry is None or not disk.is_file():  # else one was killed while he sealed it
            with ExitStack() as failed:
                failed.callback(_remove_empty, folder)  # an interrupted transfer is gone on with
                result = self._filled(fill, disk)
                failed.pop_all()
            entry = Entry(what, result.labels, "", "", disk.stat().st_size, time.time(), result.architecture)
            stored.write(about, stored.said(entry))
        disk.chmod(_MODE)
        entry = replace(entry, sum=stored.content(disk), stamp=stored.stamp(disk))
        stored.write(about, stored.said(entry))
        folder.rename(self.folder / "images" / what.key)
        linux.sync_folder(self.folder / "images")
        return entry, result

    def _filled(self, fill: Fill, disk: Path) -> Result:
        """Fetch it; where there is no room for it, once more after all that nobody holds has gone."""
        try:
            return fill(Target(disk, room=self.room()))
        except (NoSpace, ImageTooLarge) as error:
            if not self.evict(0.0, _never):
                raise NoSpace(self._full(error)) from error
        try:
            return fill(Target(disk, room=self.room()))
        except (NoSpace, ImageTooLarge) as error:
            raise NoSpace(self._full(error)) from error

    def room(self) -> int:
        """Bytes that a new image may take."""
        facts = os.statvfs(self.folder)
        reserve = min(RESERVE, facts.f_frsize * facts.f_blocks // 20)
        return max(0, facts.f_frsize * facts.f_bavail - reserve)

    def _full(self, error: Exception) -> str:
        kept = self.found()
        held = sum(each.taken for each in kept)
        return (
            f"the image store of this node has no room: {self.room()} bytes may be used, and {len(kept)} images that "
            f"are in use take {held}. Make room on the file system of {self.folder}, or end guests ({error})"
        )

    def _disk(self, key: str) -> Path:
        return self.folder / "images" / key / DISK

    def _name(self, name: str) -> Path:
        return self.folder / "names" / f"{hashlib.sha256(name.encode()).hexdigest()}.json"

    def _discard(self, place: Path) -> None:
        """Renamed first: nothing half removed is ever found under its name."""
        doomed = place.with_name(f"{_GONE}-{place.name}")
        shutil.rmtree(doomed, ignore_errors=True)
        with suppress(FileNotFoundError):
            place.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    @contextmanager
    def _held(self, key: str, *, wait: bool = True) -> Iterator[bool]:
        """The right to change that image; False: another has it, and we do not wait."""
        fd = lock.taken(self.folder / "locks" / key, 0o660)
        if fd is None and wait:
            log.info("another transfer of this image is under way: waiting for it", key=key)
            fd = lock.taken(self.folder / "locks" / key, 0o660, wait=True)
        if fd is None:
            yield False
            return
        try:
            stored.like(self.folder, fd)
            yield True
        finally:
            os.close(fd)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _never() -> bool:
    return False
