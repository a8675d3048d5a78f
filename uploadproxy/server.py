"""The upload pod: one image comes in, by CDI's single requests or by tus, and becomes the disk of one claim.

An upload that fails leaves it ready for another; its controller asks for those that did.
Exit codes: 0 done (or the deadline has passed and nobody uploads), 3 can never work as asked, 4 may work when tried
again, 143 told to stop.
"""

import json
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from aiohttp import BodyPartReader, web

from diskyard import ending, log, volume
from diskyard.api.job import TerminationMessage
from diskyard.api.names import cdi, upload
from diskyard.api.upload import UploadJob
from diskyard.disk.target import Result
from diskyard.errors import DiskyardError
from diskyard.web import connection, server, tls
from diskyard.web.connection import borrowed
from uploadproxy import limits, promise, tus
from uploadproxy.receiver import Receiver
from uploadproxy.session import Place, Session, refusal

DONE: Final = 0
FATAL: Final = 3
PASSING: Final = 4
STOPPED: Final = 128 + signal.SIGTERM
DEADLINE: Final = "Deadline Passed"
GRACE: Final = 10.0
_LAST_ANSWER: Final = 1.0
"""Seconds for which a server that is done still answers who asks how it went."""
_OPEN: Final = ("/healthz", "/progress")
"""What anybody in the cluster may ask, as of importers."""
_CLONE: Final = "x-cdi-content-type"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
logger = log.logger("upload")


@dataclass(frozen=True)
class End:
    """How the server ends."""

    code: int
    text: str


@ending.at_once
def main() -> int:
    """Serve the job that the environment says; the process's exit code."""
    log.start(log.level(os.environ.get(cdi.ENV_VERBOSITY, "")))
    ends: SimpleQueue[End] = SimpleQueue()
    signal.signal(
        signal.SIGTERM,
        lambda *_: ends.put(End(STOPPED, _text("stopped before the upload was complete", "Stopped"))),
    )
    try:
        end = _serve(os.environ, ends)
    except DiskyardError as error:
        logger.error("cannot begin", error=str(error))  # noqa: TRY400  the user's own doing: no traceback
        end = End(
            FATAL if error.fatal else PASSING,
            TerminationMessage(str(error), error.reason, error.fatal).to_text(),
        )
    with suppress(OSError):
        Path(os.environ.get(cdi.ENV_TERMINATION_LOG, cdi.TERMINATION_LOG)).write_text(end.text)
    return end.code


def _serve(env: Mapping[str, str], ends: "SimpleQueue[End]") -> End:
    job = UploadJob.from_env(env)
    place = Place(volume.target(job.volume, env), job.archive)
    receiver = Receiver(place, job.expiry, lambda session: ends.put(_end(job, session)))
    app = application(receiver, job)
    listening = server.Place(job.address, job.port, tls=_context(job), lends=True)
    running = server.start(app, listening)
    logger.info("waiting for an upload", url=running.url)
    try:
        end = _awaited(ends, receiver, job.deadline)
        if end.code == DONE:
            time.sleep(_LAST_ANSWER)
        return end
    finally:
        running.stop(GRACE)


def _awaited(ends: "SimpleQueue[End]", receiver: Receiver, deadline: str) -> End:
    """How it ends; at the deadline, as soon as nobody sends."""
    until = datetime.fromisoformat(deadline) if deadline else datetime.max.replace(tzinfo=UTC)
    while True:
        with suppress(Empty):
            return ends.get(timeout=ending.LOOK)
        if datetime.now(UTC) >= until and not receiver.busy:
            return End(DONE, json.dumps({"deadlinePassed": True, "message": DEADLINE}))


def application(receiver: Receiver, job: UploadJob) -> web.Application:
    """CDI's paths and ours, for the one client that may come in."""
    app = web.Application(middlewares=[_admitted(job.client_name)])
    app.router.add_get("/healthz", _alive)
    app.router.add_get("/progress", _reported(receiver, job.owner_uid))
    single = _Single(receiver, job.idle)
    for version in upload.VERSIONS:
        path = f"/{version}/"
        app.router.add_post(path + upload.SYNC, single.sync)
        app.router.add_post(path + upload.ARCHIVE, single.sync)
        app.router.add_post(path + upload.ASYNC, single.background)
        app.router.add_head(path + upload.ASYNC, _alive)
        app.router.add_post(path + upload.FORM, single.form)
        app.router.add_post(path + upload.FORM_ASYNC, single.form_background)
    tus.add_routes(app.router, receiver, job.idle)
    app.on_response_prepare.append(connection.close_after)
    app.on_startup.append(receiver.open)
    app.on_shutdown.append(receiver.close)
    return app


def _admitted(name: str) -> Any:
    """Lets in who has a certificate of that name; whether it is signed rightly, the TLS handshake has checked."""

    @web.middleware
    async def admitted(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path not in _OPEN and _common_name(request) != name:
            return web.Response(status=401)
        try:
            return await handler(request)
        except web.HTTPMethodNotAllowed:
            return web.Response(status=404)

    return admitted


def _common_name(request: web.Request) -> str:
    certificate = request.transport.get_extra_info("peercert") if request.transport else None
    subject = (certificate or {}).get("subject", ())
    return next((str(text) for part in subject for key, text in part if key == "commonName"), "")


async def _alive(_: web.Request) -> web.StreamResponse:
    return web.Response(text="OK")


def _reported(receiver: Receiver, owner_uid: str) -> Handler:
    async def reported(_: web.Request) -> web.StreamResponse:
        text = receiver.account.to_text(owner_uid, receiver.session)
        return web.Response(text=text, content_type="application/json")

    return reported


class _Single:
    """CDI's requests: the whole image in one."""

    def __init__(self, receiver: Receiver, idle: float) -> None:
        self._receiver = receiver
        self._idle = idle

    async def sync(self, request: web.Request) -> web.StreamResponse:
        return await self._taken(request, wait=True)

    async def background(self, request: web.Request) -> web.StreamResponse:
        return await self._taken(request, wait=False)

    async def form(self, request: web.Request) -> web.StreamResponse:
        return await self._taken(request, wait=True, form=True)

    async def form_background(self, request: web.Request) -> web.StreamResponse:
        return await self._taken(request, wait=False, form=True)

    async def _taken(self, request: web.Request, *, wait: bool, form: bool = False) -> web.StreamResponse:
        if self._receiver.done:
            return web.Response(status=409)
        if self._receiver.busy:
            return web.Response(status=503)
        if _CLONE in request.headers:
            return web.Response(status=400, text=f"{_CLONE}: this version takes images and archives only")
        idle = self._idle
        try:
            idle = limits.idle(request.headers, idle)
            promised = promise.of_headers(request.headers)
            session = await self._receiver.single(None if form else request.content_length, promised)
            if form:
                await session.take(_file(request), 0, idle)
            else:
                with borrowed(request, idle) as loan:
                    await session.take(loan or request.content.iter_any(), 0, idle)
            await (session.outcome() if wait else session.processed())
            if session.error:
                raise session.error
        except DiskyardError as error:
            status, text = refusal(error)
            return web.Response(status=status, text=text)
        except TimeoutError:
            return web.Response(status=408, text=f"no byte came for {idle:g} s: send it again")
        finally:
            await self._receiver.put_down()
        return web.Response()


async def _file(request: web.Request) -> AsyncIterator[bytes]:
    """The part of a form that is named `file`."""
    async for part in await request.multipart():
        if isinstance(part, BodyPartReader) and part.name == "file":
            while chunk := await part.read_chunk(1 << 18):
                yield chunk
            return


def _end(job: UploadJob, session: Session) -> End:
    """What the pod says when an upload has become the disk, or the server is at fault."""
    if session.error is None:
        return End(DONE, _success(job, session.task.result()))
    said = TerminationMessage(
        refusal(session.error)[1], reason="InternalError", bytes_fetched=session.received
    )
    return End(PASSING, said.to_text())


def _success(job: UploadJob, result: Result) -> str:
    return TerminationMessage(
        "Upload Complete",
        preallocation_applied=job.preallocation,
        bytes_fetched=result.bytes_fetched,
        bytes_written=result.bytes_written,
        digest=result.digest,
    ).to_text()


def _text(message: str, reason: str) -> str:
    return TerminationMessage(message, reason=reason).to_text()


def _context(job: UploadJob) -> ssl.SSLContext:
    """TLS with our certificate; a client that shows one must have it from our authority."""
    folder = Path(job.folder)
    context = tls.context(tls.Pair(folder / "tls.crt", folder / "tls.key"))
    tls.harden(context, job.tls)
    context.load_verify_locations(folder / "ca.crt")
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


if __name__ == "__main__":
    main()
