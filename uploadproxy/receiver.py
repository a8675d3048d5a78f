"""The one upload that a server has: by a single request or by tus, and what became of it."""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from diskyard.disk.digest import Expected
from diskyard.errors import DiskyardError, InvalidRequest, SourceUnavailable
from diskyard.web.bridge import call
from uploadproxy import session as sessions
from uploadproxy import shelf
from uploadproxy.account import Account
from uploadproxy.intake import SentAgain
from uploadproxy.session import Place, Session
from uploadproxy.shelf import Ticket

_PERIOD: Final = 30.0
"""Seconds between two looks at whether an upload has been given up."""


class Withdrawn(InvalidRequest):
    """Its client does not want the upload any more, or has not come back to it."""

    reason = "Withdrawn"


@dataclass(frozen=True)
class Wanted:
    """What a client announces."""

    length: int
    metadata: Mapping[str, str]
    checksum: str


class Receiver:
    """At most one upload at a time, until one has become the disk."""

    def __init__(self, place: Place, expiry: float, on_end: Callable[[Session], None]) -> None:
        """`on_end`: an upload has become the disk, or has failed by a fault of the server itself."""
        self.place = place
        self.expiry = expiry
        self.done = False
        self.session: Session | None = None
        self.ticket: Ticket | None = None
        self.account = Account()
        self._on_end = on_end
        self._whole = False
        self._single = False
        self._making = asyncio.Lock()
        self._opened = 0.0
        self._reaper: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether somebody uploads, or what has come is being worked on."""
        found = self.session
        if found is None or found.task.done():
            return False
        return self._single or found.active or found.processing.is_set()

    async def single(self, length: int | None, promised: Expected | None) -> Session:
        """An upload in one request; one that waits to be gone on with makes way."""
        async with self._making:
            await self._cleared()
            self._single = True
            return self._begun(sessions.plain(self.place, length, promised, whole=self._whole))

    async def put_down(self) -> None:
        """The client of a single request has its answer, or has gone."""
        found, self._single = self.session, False
        if found is None:
            return
        self._whole = isinstance(found.error, SentAgain)
        if found.task.done() or found.processing.is_set():
            if found.task.done() and found.error is None:
                self._finished(found)
            return
        await found.stop(SourceUnavailable("the client went away before the upload was complete"))

    async def begin(self, wanted: Wanted) -> Ticket:
        """A resumable upload; an earlier one makes way."""
        async with self._making:
            await self._cleared()
            made = Ticket(
                secrets.token_hex(16), wanted.length, time.time(), dict(wanted.metadata), wanted.checksum,
                expiry=self.expiry,
            )  # fmt: skip
            self.ticket = made
            self._begun(await sessions.begun(self.place, made))
            return made

    async def find(self, name: str) -> Session | None:
        """The resumable upload of that name, at work; None: there is none."""
        async with self._making:
            ticket = await self.known()
            if ticket is None or ticket.id != name:
                return None
            if self.session is None or (self.session.task.done() and self._again(self.session)):
                self._begun(await sessions.taken_up(self.place, ticket))
            return self.session

    async def known(self) -> Ticket | None:
        """The resumable upload that there is, at work or not."""
        if self.ticket is None and not self._single:
            self.ticket = await call(shelf.ticket, self.place.target)
            if self.ticket and self.ticket.expiry:
                self.expiry = self.ticket.expiry
        return self.ticket

    async def withdraw(self, found: Session) -> None:
        """Leave nothing of it."""
        await found.stop(Withdrawn("the upload was withdrawn"))
        await call(shelf.discard, self.place.target)
        self.session = self.ticket = None

    async def open(self, _: web.Application) -> None:
        """Look after what an earlier server has left, too."""
        self._opened = asyncio.get_running_loop().time()
        self._reaper = asyncio.create_task(self._reap())

    async def close(self, _: web.Application) -> None:
        """Keep what has come: another server goes on."""
        if self._reaper:
            self._reaper.cancel()
        if self.session and not self.session.task.done():
            await self.session.stop(SourceUnavailable("the server was told to stop"))

    def _begun(self, found: Session) -> Session:
        self.session = found
        found.task.add_done_callback(lambda _: self._ended(found))
        return found

    def _ended(self, found: Session) -> None:
        if found is not self.session or found.task.cancelled():
            return
        if found.error is None:
            self._finished(found)
        elif not isinstance(found.error, Withdrawn):
            self.account.note(found)
            if not isinstance(found.error, DiskyardError):
                self._on_end(found)

    def _finished(self, found: Session) -> None:
        if not self.done and not self._single:
            self.done = True
            self._on_end(found)

    def _again(self, found: Session) -> bool:
        """Whether another try may do better."""
        return isinstance(found.error, DiskyardError) and not found.error.fatal

    async def _cleared(self) -> None:
        """Make way for another upload."""
        found = self.session
        if found and not found.task.done():
            await found.stop(Withdrawn("another upload has begun"))
        await call(shelf.discard, self.place.target)
        self.session = self.ticket = None

    async def _reap(self) -> None:
        while True:
            with suppress(DiskyardError):
                left = await self.known()
                found = await self.find(left.id) if left and self._overdue() else None
                if found and not found.task.done():
                    await self.withdraw(found)
            await asyncio.sleep(min(_PERIOD, max(0.05, self.expiry / 4)))

    def _overdue(self) -> bool:
        """Whether nobody has gone on in as long as it is kept, since this server began at least."""
        if self.session is None:
            return asyncio.get_running_loop().time() - self._opened > self.expiry
        return not (self.done or self.busy) and self.session.idle > self.expiry
