"""Large answers: sent piece by piece, and so many bytes of them that wait for slow readers, no more."""

import asyncio
from contextlib import suppress
from typing import Final

from aiohttp import web

from diskyard.errors import TooManyRequests
from standalone.wire.answer import JSON, reply

MOST: Final = 256 << 20
"""Bytes of all that wait at once; a single larger one may."""
WITHIN: Final = 60.0
"""Seconds that a client gets to read one."""
_SMALL: Final = 1 << 20
_PIECE: Final = 1 << 18


class Bulk:
    """The answers of one server that are being read."""

    def __init__(self, most: int = MOST, within: float = WITHIN) -> None:
        self._most = most
        self._within = within
        self._waiting = 0

    async def answer(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """The answer with that JSON, read by the client when it is a large one. Raises TooManyRequests."""
        size = len(body)
        if size <= _SMALL:
            return reply(body)
        if self._waiting and self._waiting + size > self._most:
            raise TooManyRequests(
                f"answers of {self._waiting >> 20} MiB wait for their readers already, this one has {size >> 20}; "
                "ask for a piece of it (limit=500), or come back later"
            )
        self._waiting += size
        try:
            return await self._sent(request, body)
        finally:
            self._waiting -= size

    async def _sent(self, request: web.Request, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": JSON, "Content-Length": str(len(body))})
        try:
            async with asyncio.timeout(self._within):
                await response.prepare(request)
                with suppress(ConnectionError):  # the client has gone
                    for start in range(0, len(body), _PIECE):
                        await response.write(body[start : start + _PIECE])
                    await response.write_eof()
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        return response
