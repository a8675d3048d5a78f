"""A disk in oVirt as an Image: ovirt-imageio's extents say where its data is, ranged requests fetch only that.

After https://ovirt.github.io/ovirt-imageio/images.html. A server too old for extents gives one extent, of data.
"""

import json
import re
from array import array
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from threading import BoundedSemaphore
from time import sleep
from typing import Final
from urllib.parse import urlsplit

from diskyard.api.job import ImportJob
from diskyard.disk.extent import Extent, coalesced
from diskyard.disk.layer import Layer
from diskyard.errors import AccessDenied, InvalidRequest, Refused, SourceMissing, SourceUnavailable
from diskyard.log import logger
from importer.ovirt import Engine, Pause, Ticket
from importer.request import Access, Answer, Client, Request, shown
from importer.retry import DELAYS

_LONGEST_OPTIONS: Final = 64 << 10
_MOST_EXTENTS: Final = 1 << 20
_MOST_READERS: Final = 8
_LARGEST: Final = 1 << 60
"""Bytes of a disk."""
_OBJECT: Final = re.compile(rb"\{[^{}]{1,1024}\}")
_LOST: Final = (AccessDenied, SourceMissing)
"""What a ticket that has ended is answered with: another attempt gets another ticket."""

log = logger("imageio")


@dataclass(frozen=True)
class _Options:
    """What a server can do with a ticket."""

    extents: bool = False
    readers: int = 1
    """Connections at once."""


class ImageioImage:
    """A disk behind a ticket's URL. From several threads at once, a connection each."""

    def __init__(self, ticket: Ticket, access: Access, pause: Pause = sleep) -> None:
        """Find a way to the disk, and learn where its data is. Raises SourceUnavailable, InvalidRequest."""
        self._access = replace(access, user="", password="", headers=(), led=access.led or ticket.public)
        self._pause = pause
        self._client = Client()
        self._ends = array("Q")
        self._zeros = bytearray()
        with ExitStack() as failed:
            failed.callback(self._client.close)
            self._url, options = self._way(ticket.urls)
            self._readers = BoundedSemaphore(options.readers)
            if options.extents:
                self._learn()
            else:
                log.warning("the server does not tell extents: every byte is fetched", url=shown(self._url))
                self._add(Extent(0, ticket.size or self._told(), zero=False))
            failed.pop_all()
        self.size: int = self._ends[-1] if self._ends else 0

    @property
    def about(self) -> Mapping[str, str]:
        """The `host` that it reads from."""
        return {"host": urlsplit(self._url).hostname or ""}

    def extents(self) -> Iterator[Extent]:
        start = 0
        for end, zero in zip(self._ends, self._zeros, strict=True):
            yield Extent(start, end - start, bool(zero))
            start = end

    def preadinto(self, buf: memoryview, offset: int) -> None:
        if offset + len(buf) > self.size:
            raise SourceUnavailable(f"expected {len(buf)} bytes at {offset}, the disk ends at {self.size}")
        done = 0
        for delay in (*DELAYS, None):
            try:
                with self._readers:
                    for count in self._read(buf[done:], offset + done):
                        done += count
            except SourceUnavailable as error:
                if delay is None:
                    raise
                log.warning("interrupted, asking again", at=offset + done, seconds=delay, because=error)
                self._pause(delay)
            else:
                return

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def _way(self, urls: tuple[str, ...]) -> "tuple[str, _Options]":
        """The first URL that answers, and what its server can do. The host is the shorter way; not all can reach it."""
        for url in urls[:-1]:
            try:
                return url, self._options(url)
            except (SourceUnavailable, Refused) as error:
                log.warning("cannot reach the host of the disk, trying the engine's proxy", because=error)
        return urls[-1], self._options(urls[-1])

    def _options(self, url: str) -> "_Options":
        """What a server can do; little, if it is too old to be asked."""
        try:
            answer = self._client.ask(url, self._access, Request("OPTIONS"), (200, 204, 405))
        except _LOST as error:
            raise SourceUnavailable(f"the ticket at {shown(url)} is not valid: {error}") from error
        with closing(answer):
            text = answer.read(_LONGEST_OPTIONS)
        return _options(text) if answer.status == 200 else _Options()

    def _told(self) -> int:
        """The size, where only the server knows it: that of a layer's file."""
        with closing(self._get(self._url, {"Range": "bytes=0-0"})) as answer:
            said = answer.headers.get("Content-Range", "").rpartition("/")[2]
        if answer.status != 206 or not said.isdecimal() or len(said) > 19:
            raise SourceUnavailable(
                f"expected the size of {shown(self._url)} in Content-Range, found status {answer.status} and {said!r}"
            )
        return int(said)

    def _learn(self) -> None:
        """Keep all extents, nine bytes for each: a large disk may have a million."""
        with closing(self._get(f"{self._url}/extents", {})) as answer:
            for extent in coalesced(_listed(answer)):
                self._add(extent)

    def _add(self, extent: Extent) -> None:
        expected = self._ends[-1] if self._ends else 0
        wrong = extent.start != expected or extent.length < 0 or extent.end > _LARGEST
        if wrong or len(self._ends) >= _MOST_EXTENTS:
            raise SourceUnavailable(
                f"expected an extent at {expected} from {shown(self._url)}, found one of {extent.length} bytes at "
                f"{extent.start}, the {len(self._ends)}th"
            )
        if extent.length:
            self._ends.append(extent.end)
            self._zeros.append(extent.zero)

    def _read(self, buf: memoryview, offset: int) -> Iterator[int]:
        """Bytes that have come, time and again until all have."""
        last = offset + len(buf) - 1
        with closing(self._get(self._url, {"Range": f"bytes={offset}-{last}"})) as answer:
            said = answer.headers.get("Content-Range", "")
            if answer.status != 206 or not said.startswith(f"bytes {offset}-{last}/"):
                raise SourceUnavailable(
                    f"expected bytes {offset}-{last} from {shown(self._url)}, found status {answer.status} and "
                    f"Content-Range {said!r}. A proxy or the server is at fault"
                )
            done = 0
            while done < len(buf):
                count = answer.readinto(buf[done:])
                if not count:
                    raise SourceUnavailable(
                        f"{shown(self._url)} broke off at byte {offset + done} of {last + 1}"
                    )
                done += count
                yield count

    def _get(self, url: str, headers: Mapping[str, str]) -> Answer:
        try:
            return self._client.get(url, self._access, headers)
        except _LOST as error:
            raise SourceUnavailable(f"the image transfer has ended: {error}") from error


@contextmanager
def opened(job: ImportJob, access: Access) -> "Iterator[ImageioImage | Delta]":
    """A disk in oVirt, a snapshot of it, or what has changed between two. Raises Refused, SourceUnavailable."""
    with (
        closing(Engine(job.endpoint, access)) as engine,
        engine.transfer(job.disk_id, job.checkpoint, alone=bool(job.previous)) as ticket,
        closing(ImageioImage(ticket, access)) as image,
    ):
        log.info("reading", disk=job.disk_id, stage=job.checkpoint, size=image.size, **image.about)
        yield Delta(image, job.previous) if job.previous else image


class Delta(Layer):
    """What has changed of a disk since a snapshot: the one layer that lies directly on that snapshot's."""

    def __init__(self, image: ImageioImage, previous: str) -> None:
        super().__init__(image)
        self.about = image.about
        below = self.backing.rpartition("/")[2]
        if below != previous:
            raise InvalidRequest(
                f"snapshot backing file '{below}' does not match expected checkpoint '{previous}', unable to safely "
                "rebase snapshot. Correct spec.checkpoints: each entry's previous is the snapshot right below it"
            )


def _options(text: bytes) -> _Options:
    try:
        said = json.loads(text)
        features, readers = said.get("features") or (), said.get("max_readers") or 1
        return _Options("extents" in features, max(1, min(int(readers), _MOST_READERS)))
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return _Options()


def _listed(answer: Answer) -> Iterator[Extent]:
    """The extents of a list in JSON, while it comes: they are flat objects, and the list may be long."""
    held = b""
    buf = bytearray(64 << 10)
    while count := answer.readinto(memoryview(buf)):
        held += buf[:count]
        end = 0
        for found in _OBJECT.finditer(held):
            yield _extent(found[0], answer)
            end = found.end()
        held = held[end:]
        if len(held) > 4096:
            break
    if held.strip() not in (b"]", b"[]"):
        raise SourceUnavailable(
            f"{shown(answer.url)}: expected a list of extents, found {held[:80]!r} at its end"
        )


def _extent(text: bytes, answer: Answer) -> Extent:
    try:
        said = json.loads(text)
        return Extent(int(said["start"]), int(said["length"]), said["zero"] is True)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise SourceUnavailable(f"{shown(answer.url)}: expected an extent, found {text[:80]!r}") from error
