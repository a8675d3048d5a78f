"""`kubectl logs`: a container's output, streamed."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

from aiohttp import web

from diskyard.api import meta
from diskyard.api.meta import POD, Key, Obj
from diskyard.errors import BadRequest, TooManyRequests
from diskyard.kube.client import Client
from diskyard.web.bridge import call
from standalone.node.log import LogOptions
from standalone.wire import body
from standalone.wire.asked import Asked
from standalone.wire.crowd import MOST

LIMIT = 16
"""So many logs are read at once; each holds a thread while it waits for lines."""


class Logs(Protocol):
    """Reads a container's log.

    Raises NotFound or BadRequest when called or at its first piece. With `follow`, yields b"" now and then while
    nothing is said, so that whoever has lost interest can stop.
    """

    def __call__(self, pod: Obj, options: LogOptions) -> Iterator[bytes]: ...


class LogStreams:
    """The logs that are being read."""

    def __init__(self, client: Client, logs: Logs, paused: float = MOST.paused) -> None:
        self._client = client
        self._paused = paused
        self._waiting: dict[asyncio.Timeout, float] = {}
        """Pieces that wait for their readers, longest first: since when."""
        self._logs = logs
        self._open = 0
        self._closing = False

    async def get(self, asked: Asked) -> web.StreamResponse:
        """The log that a request is about."""
        return await self.stream(asked.request, asked.target.key)

    async def stream(self, request: web.Request, key: Key, container: str = "") -> web.StreamResponse:
        """The log, as plain text, for as long as it is wanted; the container may stand in the query."""
        if self._open >= LIMIT and not self._room_made():
            raise TooManyRequests(f"{LIMIT} logs are being read already; close some, or come back later")
        self._open += 1
        try:
            pod = await call(self._client.get, POD, key)
            chosen = options(request, pod, container)
            chunks = await call(self._logs, pod, chosen)
            first = await call(_gathered, chunks)  # a refusal must come before the answer begins
            response = web.StreamResponse(headers={"Content-Type": "text/plain"})
            response.enable_chunked_encoding()
            await response.prepare(request)
            try:
                with suppress(ConnectionError):
                    await self._pass_on(first, chunks, response)
                    await response.write_eof()
            except TimeoutError:
                if request.transport is not None:
                    request.transport.abort()
            return response
        finally:
            self._open -= 1

    def close(self) -> None:
        """End them all."""
        self._closing = True

    async def _pass_on(
        self, chunk: bytes | None, chunks: Iterator[bytes], response: web.StreamResponse
    ) -> None:
        while chunk is not None and not self._closing:
            if chunk:
                await self._give(chunk, response)
            chunk = await call(_gathered, chunks)

    async def _give(self, chunk: bytes, response: web.StreamResponse) -> None:
        """Raises TimeoutError when the reader has to make room."""
        waiting = asyncio.timeout(None)
        try:
            async with waiting:
                self._waiting[waiting] = time.monotonic()
                await response.write(chunk)
        finally:
            self._waiting.pop(waiting, None)

    def _room_made(self) -> bool:
        """Whether somebody who reads nothing goes for somebody who asks."""
        longest = next(iter(self._waiting.items()), None)
        if longest is None or time.monotonic() - longest[1] < self._paused:
            return False
        waiting, _ = longest
        del self._waiting[waiting]
        waiting.reschedule(asyncio.get_running_loop().time())
        return True


def options(request: web.Request, pod: Obj, container: str = "") -> LogOptions:
    """PodLogOptions from the query. Raises BadRequest."""
    container = container or request.query.get("container", "")
    names = [
        str(c.get("name"))
        for part in ("containers", "initContainers")
        for c in meta.spec(pod).get(part) or ()
    ]
    if container and container not in names:
        raise BadRequest(f"container {container} is not valid for pod {meta.name(pod)}")
    if not container and len(meta.spec(pod).get("containers") or ()) > 1:
        choices = " ".join(names)
        raise BadRequest(
            f"a container name must be specified for pod {meta.name(pod)}, choose one of: [{choices}]"
        )
    return LogOptions(
        container=container,
        follow=body.flag(request, "follow"),
        tail=body.number(request, "tailLines"),
        since=_since(request),
        timestamps=body.flag(request, "timestamps"),
        previous=body.flag(request, "previous"),
        limit_bytes=body.number(request, "limitBytes"),
    )


def _since(request: web.Request) -> float | None:
    seconds = body.number(request, "sinceSeconds")
    if seconds is not None:
        return time.time() - seconds
    text = request.query.get("sinceTime")
    if not text:
        return None
    try:
        return meta.moment(text).timestamp()
    except ValueError as error:
        raise BadRequest(f"sinceTime: expected a time as in RFC 3339, found {text[:60]!r}") from error


def _gathered(chunks: Iterator[bytes]) -> bytes | None:
    """The next piece, larger ones of many lines; empty: nothing for now; None: the end."""
    found, size = [], 0
    for chunk in chunks:
        found.append(chunk)
        size += len(chunk)
        if not chunk or size >= 64 * 1024:
            return b"".join(found)
    return b"".join(found) if found else None
