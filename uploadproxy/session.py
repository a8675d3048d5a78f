"""One upload under way: its client's bytes in, the engine at work on a thread of its own, how it ended."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from diskyard.api import checksum
from diskyard.disk import journal
from diskyard.disk.digest import Expected
from diskyard.disk.extract import extract
from diskyard.disk.ingest import ingest
from diskyard.disk.target import Expect, Progress, Result, Target
from diskyard.errors import DiskyardError, Refused
from diskyard.web.bridge import Closed, Pipe, Superseded, call
from diskyard.web.connection import Loan
from uploadproxy import shelf
from uploadproxy.intake import ORIGIN, Intake, SentAgain, ShelvedIntake
from uploadproxy.shelf import Shelf, Ticket

FRESH: Final = 5.0
"""Seconds without a byte after which another writer may take over."""


@dataclass(frozen=True)
class Place:
    """Where uploads go."""

    target: Target
    archive: bool = False
    """Files are unpacked there, no disk is made."""


class Session:
    """An upload that the engine works on. Lives on the loop."""

    def __init__(self, place: Place, intake: Intake | ShelvedIntake, pipe: Pipe, expect: Expect) -> None:
        self.progress = Progress()
        self.processing = asyncio.Event()
        """Set when all bytes are in and understood: what remains takes no client."""
        self.committed = intake.received
        self._loop = asyncio.get_running_loop()
        self._intake = intake
        self._pipe = pipe
        self._writer: int | None = None
        self._heard = self._loop.time()
        self._loan: Loan | None = None
        self._patience: asyncio.Timeout | None = None
        self.task = asyncio.create_task(call(_work, place, intake, expect, self._said))
        self.task.add_done_callback(self._over)

    @property
    def received(self) -> int:
        """Bytes of the image that are taken in."""
        return self._intake.received

    @property
    def error(self) -> BaseException | None:
        """Why it ended without a disk; None: it did not."""
        return self.task.exception() if self.task.done() and not self.task.cancelled() else None

    @property
    def over(self) -> bool:
        """Whether no byte is wanted any more: it has ended, or is about to."""
        return self._pipe.closed

    @property
    def idle(self) -> float:
        """Seconds since its client was heard of."""
        heard = self._loan.channel.heard if self._loan else 0.0
        return self._loop.time() - max(self._heard, heard)

    @property
    def active(self) -> bool:
        """Whether a client is sending, and was heard of lately."""
        return self._writer is not None and self.idle < FRESH

    async def offset(self) -> int:
        """Where a client has to go on: what is durable, once the engine has said what it needs."""
        if not self.active:
            await self._settle(self._pipe.claim())
        return self.committed

    async def take(self, body: AsyncIterator[bytes] | Loan, offset: int, idle: float) -> None:
        """Take a body in that begins at `offset`. What came before it broke off is kept, where anything is.

        Raises WrongOffset, Superseded, TimeoutError, and what reading the body raises.
        """
        turn = self._pipe.claim()
        self._writer, self._heard = turn, self._loop.time()
        try:
            await self._drained(turn)
            if self.over:
                return
            if offset != self.received:
                raise WrongOffset(self.received)
            if isinstance(body, Loan):
                end = offset + await self._lend(body, turn)
            else:
                end = offset + await self._feed(body, turn, idle)
            if isinstance(self._intake, Intake) or end == self._intake.size:
                with suppress(Closed):
                    self._pipe.end(turn)
        finally:
            await self._settle(turn)

    async def outcome(self, within: float | None = None) -> Result | None:
        """What came of it; None: not yet, after so many seconds. Raises why it failed."""
        done, _ = await asyncio.wait({self.task}, timeout=within)
        return self.task.result() if done else None

    async def processed(self) -> None:
        """Return when nothing more is needed of the client, or it has failed."""
        waiting = asyncio.create_task(self.processing.wait())
        try:
            await asyncio.wait({self.task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()

    async def stop(self, why: DiskyardError) -> None:
        """End the work; a Passing reason keeps what has come, a Refused one leaves nothing of it."""
        await self._settle(self._pipe.claim())
        self._pipe.fail(why)
        await asyncio.wait({self.task})

    async def _feed(self, body: AsyncIterator[bytes], turn: int, idle: float) -> int:
        """Bytes that were handed over."""
        count, chunks = 0, aiter(body)
        with suppress(Closed):
            while chunk := await self._next(chunks, idle):
                self._heard = self._loop.time()
                await self._pipe.write(chunk, turn)
                count += len(chunk)
        return count

    async def _lend(self, loan: Loan, turn: int) -> int:
        """The same of a body that the engine's thread reads by itself."""
        count = len(loan.first) + loan.channel.left
        self._loan = loan
        try:
            with suppress(Closed):
                if loan.first:
                    await self._pipe.write(loan.first, turn)
                await self._pipe.lend(loan.channel, turn)
        finally:
            self._loan = None
        return count

    async def _next(self, chunks: AsyncIterator[bytes], idle: float) -> bytes:
        """The client's next bytes; none at the end, or when the work is over."""
        try:
            async with asyncio.timeout(idle) as self._patience:
                return await anext(chunks, b"")
        except TimeoutError:
            if self.task.done():
                return b""
            raise
        finally:
            self._patience = None

    async def _drained(self, turn: int) -> None:
        try:
            await self._pipe.drained(turn)
        except Closed:
            return

    async def _settle(self, turn: int) -> None:
        """Have what came made durable, as long as nobody else has the word."""
        try:
            await self._pipe.drained(turn)
        except (Closed, Superseded):
            return
        finally:
            if self._writer == turn:
                self._writer = None
        if isinstance(self._intake, ShelvedIntake):
            self.committed = await call(self._intake.commit)

    def _over(self, _: "asyncio.Task[Result]") -> None:
        """A client that still sends does so in vain."""
        if self._patience is not None:
            self._patience.reschedule(self._loop.time())

    def _said(self, progress: Progress) -> None:
        self.progress = progress
        if progress.phase in ("converting", "complete"):
            self._loop.call_soon_threadsafe(self.processing.set)


class WrongOffset(Exception):
    """The client goes on elsewhere than where it should."""

    def __init__(self, expected: int) -> None:
        super().__init__(expected)
        self.expected = expected


def plain(place: Place, length: int | None, promised: Expected | None, *, whole: bool) -> Session:
    """An upload in one go. Nothing of it is kept when it breaks off."""
    pipe = Pipe()
    expect = Expect(ORIGIN, "the upload", promised, whole=whole)
    return Session(place, Intake(pipe, length), pipe, expect)


async def begun(place: Place, ticket: Ticket) -> Session:
    """A resumable upload that begins."""
    return _shelved(place, ticket, await call(Shelf.made, place.target, ticket), 0)


async def taken_up(place: Place, ticket: Ticket) -> Session:
    """A resumable upload that another server, or another session of this one, has begun."""
    return _shelved(place, ticket, *await call(_reopened, place.target, ticket))


def _reopened(target: Target, ticket: Ticket) -> tuple[Shelf, int]:
    held = journal.peek(target.journal)
    ours = held and held.origin == journal.record(ORIGIN + ticket.id, "", "").origin
    return Shelf.taken_up(target, ticket, held.offset if held and ours else 0)


def _shelved(place: Place, ticket: Ticket, files: Shelf, known: int) -> Session:
    pipe = Pipe()

    def on_rewind() -> None:
        pipe.restart()
        shelf.write_ticket(place.target, replace(ticket, whole=True))

    intake = ShelvedIntake(pipe, ticket, files, known, on_rewind)
    promised = checksum.parse(ticket.checksum) if ticket.checksum else None
    digest = Expected(promised.algorithm, promised.hex) if promised else None
    expect = Expect(ORIGIN + ticket.id, "the upload", digest, goes_on=True, whole=ticket.whole)
    return Session(place, intake, pipe, expect)


def _work(
    place: Place, intake: Intake | ShelvedIntake, expect: Expect, on_progress: Callable[[Progress], None]
) -> Result:
    """The engine's part, on a thread."""
    work = extract if place.archive else ingest
    try:
        result = work(intake, place.target, expect=expect, on_progress=on_progress)
    except Refused:
        intake.close()
        shelf.discard(place.target)
        raise
    finally:
        intake.close()
    shelf.discard(place.target)
    return result


def refusal(error: BaseException) -> tuple[int, str]:
    """(status, text) of an upload that failed, as CDI's clients know them."""
    text = f"Saving stream failed: {error}"
    if isinstance(error, DiskyardError) and error.reason == "ImageTooLarge":
        small = "effective image size is larger than the reported available storage"
        return 400, f"Saving stream failed: {small}: {error}"
    if isinstance(error, SentAgain):
        return 503, str(error)
    return 500, text
