"""How long a connection may ask for nothing: slow and silent clients do not use up a server."""

import asyncio
import resource
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


_SILENT: Final = 1024


def _bearable() -> int:
    """So many silent connections that half of the files which this process may open are left for its work."""
    return min(_SILENT, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)


@dataclass(frozen=True)
class Limits:
    """Seconds, and how many connections that ask for nothing there may be."""

    handshake: float = 10.0
    handshakes: int = 256
    """So many at once; then the longest is given up for the next."""
    first: float = 30.0
    """Until a new connection's first request has come with all of its headers."""
    later: float = 90.0
    """Between two requests."""
    silent: int = field(default_factory=_bearable)
    """Beyond so many, the longest silent go at once: over TLS, each costs 60 KiB."""
    period: float = 1.0
    """Between two looks at all of them."""


@dataclass(frozen=True)
class _Silence:
    since: float
    asked: bool = False


class Patience:
    """Ends connections that have been silent for too long, or that are too many."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._busy: set[Any] = set()
        self._silent: dict[Any, _Silence] = {}

    def middleware(self) -> Any:
        """Notes which connections have a request."""

        @web.middleware
        async def noted(request: web.Request, handler: Handler) -> web.StreamResponse:
            connection = request.protocol
            self._busy.add(connection)
            try:
                return await handler(request)
            finally:
                self._busy.discard(connection)
                self._silent[connection] = _Silence(asyncio.get_running_loop().time(), asked=True)

        return noted

    async def watch(self, connections: Callable[[], Iterable[Any]]) -> None:
        """End what is overdue, again and again."""
        while True:
            await asyncio.sleep(self._limits.period)
            for connection in self._overdue(connections(), asyncio.get_running_loop().time()):
                if connection.transport is not None:
                    connection.transport.abort()

    def _overdue(self, connections: Iterable[Any], now: float) -> list[Any]:
        new = _Silence(now)
        self._silent = {one: self._silent.get(one, new) for one in connections if one not in self._busy}
        longest_first = sorted(self._silent, key=lambda one: self._silent[one].since)
        many = max(0, len(longest_first) - self._limits.silent)
        return [one for i, one in enumerate(longest_first) if i < many or self._late(self._silent[one], now)]

    def _late(self, silence: _Silence, now: float) -> bool:
        return now - silence.since > (self._limits.later if silence.asked else self._limits.first)
