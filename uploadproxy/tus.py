"""Resumable uploads: tus 1.0 with creation, creation-with-upload, checksum, termination and expiration.

https://tus.io/protocols/resumable-upload. What HEAD and PATCH answer as offset is on disk; of a compressed image it
is what the running server has unpacked. GET, which tus leaves open, says in JSON how the upload stands.
"""

import hashlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from email.utils import formatdate
from functools import partial, wraps
from typing import Final

from aiohttp import web

from diskyard.api.names import upload
from diskyard.disk.digest import Expected
from diskyard.errors import DiskyardError, NoSpace
from diskyard.web.bridge import Superseded, call
from diskyard.web.connection import borrowed
from uploadproxy import limits, promise
from uploadproxy.receiver import Receiver, Wanted
from uploadproxy.session import Session, WrongOffset

VERSION: Final = "1.0.0"
EXTENSIONS: Final = "creation,creation-with-upload,checksum,termination,expiration"
LARGEST: Final = 1 << 60
CHECKED: Final = 64 << 20
"""Bytes of a chunk that has a checksum: it is looked at before any of it is used."""
_FINISH: Final = 20.0
"""Seconds in which the last request waits for what becomes of the image."""
_BODY: Final = "application/offset+octet-stream"

ABILITIES: Final = {
    "Tus-Resumable": VERSION,
    "Tus-Version": VERSION,
    "Tus-Extension": EXTENSIONS,
    "Tus-Max-Size": str(LARGEST),
    "Tus-Checksum-Algorithm": ",".join(promise.CHECKED),
}
"""The answer to OPTIONS."""
EXPOSED: Final = (
    "Location, Upload-Offset, Upload-Length, Upload-Metadata, Upload-Expires, Tus-Resumable, Tus-Version, "
    "Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm, Retry-After"
)
"""Headers that a page may read."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Answered(Exception):
    """What was asked is answered in this way."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def add_routes(router: web.UrlDispatcher, receiver: Receiver, idle: float) -> None:
    """Serve tus below its path."""
    uploads, spoken = _Uploads(receiver, idle), partial(_spoken, receiver)
    one = upload.UPLOADS + "/{name}"
    router.add_route("OPTIONS", upload.UPLOADS, spoken(uploads.options))
    router.add_route("OPTIONS", one, spoken(uploads.options))
    router.add_post(upload.UPLOADS, spoken(uploads.create))
    router.add_get(upload.UPLOADS, spoken(uploads.states), allow_head=False)
    router.add_get(one, spoken(uploads.state), allow_head=False)
    router.add_head(one, spoken(uploads.head))
    router.add_patch(one, spoken(uploads.patch))
    router.add_delete(one, spoken(uploads.delete))


def _spoken(receiver: Receiver, handler: Handler) -> Handler:
    """Answers in tus' manner, errors too."""

    @wraps(handler)
    async def spoken(request: web.Request) -> web.StreamResponse:
        try:
            _check_version(request)
            receiver.expiry = limits.expiry(request.headers, receiver.expiry)
            answer = await handler(request)
        except Answered as said:
            answer = web.Response(status=said.status, text=said.text or None)
            if said.status == 412:
                answer.headers["Tus-Version"] = VERSION
        except DiskyardError as error:
            answer = web.Response(status=_status(error), text=str(error))
        answer.headers["Tus-Resumable"] = VERSION
        answer.headers["Cache-Control"] = "no-store"
        return answer

    return spoken


def _check_version(request: web.Request) -> None:
    said = request.headers.get("Tus-Resumable")
    if request.method not in ("OPTIONS", "GET") and said != VERSION:
        raise Answered(412, f"Tus-Resumable: expected {VERSION}, found {said}")


class _Uploads:
    def __init__(self, receiver: Receiver, idle: float) -> None:
        self._receiver = receiver
        self._idle = idle

    async def options(self, _: web.Request) -> web.StreamResponse:
        return web.Response(status=204, headers=ABILITIES)

    async def create(self, request: web.Request) -> web.StreamResponse:
        receiver = self._receiver
        if receiver.done:
            raise Answered(409, "an upload has filled this volume already")
        if receiver.busy:
            raise Answered(423, "another upload into this volume is under way: wait for it, or end it")
        metadata = promise.of_metadata(request.headers.get("Upload-Metadata", ""))
        length = _whole(request, "Upload-Length")
        if length > LARGEST:
            raise Answered(413, f"Upload-Length: expected at most {LARGEST}, found {length}")
        ticket = await receiver.begin(Wanted(length, metadata, promise.of_image(metadata)))
        headers = {"Location": f"{upload.UPLOADS}/{ticket.id}", **self._expires()}
        if request.headers.get("Content-Type") == _BODY and request.body_exists:
            session = await self._session(ticket.id)
            await self._take(request, session, 0)
            headers["Upload-Offset"] = str(session.committed)
        return web.Response(status=201, headers=headers)

    async def head(self, request: web.Request) -> web.StreamResponse:
        session = await self._session(request.match_info["name"])
        offset = await session.offset()
        return web.Response(headers={**self._announced(), "Upload-Offset": str(offset), **self._expires()})

    async def patch(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Content-Type") != _BODY:
            raise Answered(415, f"Content-Type: expected {_BODY}")
        offset = _whole(request, "Upload-Offset")
        session = await self._session(request.match_info["name"])
        await self._take(request, session, offset)
        headers = {"Upload-Offset": str(session.committed), **self._expires()}
        return web.Response(status=204, headers=headers)

    async def delete(self, request: web.Request) -> web.StreamResponse:
        session = await self._session(request.match_info["name"])
        if session.active:
            raise Answered(423, "this upload is being written to")
        await self._receiver.withdraw(session)
        return web.Response(status=204)

    async def state(self, request: web.Request) -> web.StreamResponse:
        await self._session(request.match_info["name"], failed=True)
        return web.json_response(await self._said())

    async def states(self, _: web.Request) -> web.StreamResponse:
        """What a client that has forgotten its upload's name needs to go on with it."""
        ticket = await self._receiver.known()
        if ticket is not None:
            await self._receiver.find(ticket.id)
        return web.json_response(await self._said())

    async def _said(self) -> dict[str, object]:
        ticket, session = self._receiver.ticket, self._receiver.session
        said: dict[str, object] = {"state": "succeeded" if self._receiver.done else "waiting"}
        if session is not None:
            said = {
                "state": _state(session),
                "offset": await session.offset() if ticket else session.received,
                "percent": session.progress.percent,
            }
            if session.error:
                said |= {
                    "message": str(session.error),
                    "reason": getattr(session.error, "reason", "InternalError"),
                }
        if ticket is not None:
            said |= {"id": ticket.id, "length": ticket.length, "metadata": dict(ticket.metadata)}
        return said

    async def _session(self, name: str, *, failed: bool = False) -> Session:
        session = await self._receiver.find(name)
        if session is None:
            raise Answered(
                404, "there is no such upload: it is complete, has expired, or another one has begun"
            )
        if session.error and not failed:
            raise Answered(410, str(session.error))
        return session

    async def _take(self, request: web.Request, session: Session, offset: int) -> None:
        """Take a chunk in. Raises Answered, and why the image is refused."""
        length = self._receiver.ticket.length if self._receiver.ticket else 0
        idle = limits.idle(request.headers, self._idle)
        if session.active:
            raise Answered(423, "another client writes to this upload")
        size = request.content_length
        if size is not None and offset + size > length:
            raise Answered(413, f"the upload has {length} bytes: this chunk ends at {offset + size}")
        try:
            if said := request.headers.get("Upload-Checksum"):
                await self._take_checked(request, session, offset, promise.of_chunk(said))
            else:
                with borrowed(request, idle) as loan:
                    await session.take(loan or _bounded(request, length - offset), offset, idle)
        except WrongOffset as error:
            raise Answered(409, f"Upload-Offset: expected {error.expected}, found {offset}") from error
        except Superseded as error:
            raise Answered(409, "other bytes are needed now: ask for the offset") from error
        except TimeoutError as error:
            raise Answered(408, f"no byte came for {idle:g} s; what came before is kept") from error
        if session.received >= length or session.over:
            await self._finish(session)

    async def _finish(self, session: Session) -> None:
        session.processing.set()
        await session.outcome(_FINISH)
        session.committed = session.received

    async def _take_checked(
        self, request: web.Request, session: Session, offset: int, expected: Expected
    ) -> None:
        """Take a chunk in once it is known to be what was sent."""
        file = await call(_unnamed, str(self._receiver.place.target.folder))
        try:
            digest, size = hashlib.new(expected.algorithm, usedforsecurity=False), 0
            async for chunk in _bounded(request, CHECKED):
                digest.update(chunk)
                await call(_write, file, chunk, size)
                size += len(chunk)
            if digest.hexdigest() != expected.hex:
                raise Answered(
                    460,
                    f"the chunk's {expected.algorithm} is {digest.hexdigest()}: it was dropped, send it again",
                )
            await session.take(_read(file), offset, self._idle)
        finally:
            os.close(file)

    def _announced(self) -> dict[str, str]:
        """What the client has said of its upload."""
        ticket = self._receiver.ticket
        if ticket is None:
            return {}
        metadata = {"Upload-Metadata": promise.to_metadata(ticket.metadata)} if ticket.metadata else {}
        return {"Upload-Length": str(ticket.length), **metadata}

    def _expires(self) -> dict[str, str]:
        return {"Upload-Expires": formatdate(time.time() + self._receiver.expiry, usegmt=True)}


def _state(session: Session) -> str:
    if session.task.done():
        return "failed" if session.error else "succeeded"
    return "processing" if session.processing.is_set() else "uploading"


def _status(error: DiskyardError) -> int:
    if isinstance(error, NoSpace):
        return 507
    return 400 if error.fatal else 503


def _whole(request: web.Request, name: str) -> int:
    text = request.headers.get(name, "")
    if not text.isdecimal() or len(text) > 20:
        raise Answered(400, f"{name}: expected a whole number, found {text[:40]!r}")
    return int(text)


async def _bounded(request: web.Request, room: int) -> AsyncIterator[bytes]:
    """A body, as far as it may go. Raises Answered."""
    async for chunk in request.content.iter_any():
        room -= len(chunk)
        if room < 0:
            raise Answered(413, "the chunk is longer than it may be")
        yield chunk


def _unnamed(folder: str) -> int:
    return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)


def _write(file: int, chunk: bytes, offset: int) -> None:
    done = 0
    while done < len(chunk):
        done += os.pwrite(file, chunk[done:], offset + done)


async def _read(file: int) -> AsyncIterator[bytes]:
    offset = 0
    while chunk := await call(os.pread, file, 1 << 20, offset):
        offset += len(chunk)
        yield chunk
