"""Pages that are only for those who may: the API server says whose a bearer token is, and what they may read.

As client-go's programs do since they serve `/metrics` themselves: a ClusterRole with `nonResourceURLs` opens the page.
"""

import hashlib
import threading
import time
from collections.abc import Callable
from typing import Final

from diskyard.errors import ApiError, Forbidden, Unauthorized
from diskyard.kube.access import PathAccess, bearer, may_path
from diskyard.kube.client import Client

REMEMBERED: Final = 60.0
"""Seconds that an answer of the API server holds: a scraper comes several times a minute."""
MOST: Final = 256
"""Answers that are remembered."""
LONGEST: Final = 16 << 10
"""Characters of a token that the API server is asked about."""
_SCHEME: Final = "bearer"


class Guard:
    """Judges who may read a path."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[bytes, tuple[float, ApiError | None]] = {}

    def admit(self, authorization: str, path: str) -> None:
        """Return for who may `get` the path. Raises Unauthorized, Forbidden; ApiError where it cannot be told."""
        scheme, _, token = authorization.strip().partition(" ")
        token = token.strip()
        if scheme.lower() != _SCHEME or not token or len(token) > LONGEST:
            raise Unauthorized(
                f"{path}: expected the header `Authorization: Bearer TOKEN`, with a token of the API server"
            )
        key = hashlib.sha256(f"{path} {token}".encode(errors="replace")).digest()
        with self._lock:
            until, refusal = self._known.get(key, (0.0, None))
        if until <= self._clock():
            refusal = self._judged(token, path)
            self._remember(key, refusal)
        if refusal is not None:
            raise refusal

    def _judged(self, token: str, path: str) -> ApiError | None:
        user = bearer(self._client, token)
        if user is None:
            return Unauthorized(f"{path}: the API server does not know this token")
        if may_path(self._client, user, PathAccess("get", path)):
            return None
        return Forbidden(
            f'{path}: User "{user.name}" may not get it; a ClusterRole with nonResourceURLs ["{path}"] and verbs '
            f'["get"] lets them (the chart has one: cdi-metrics-reader)'
        )

    def _remember(self, key: bytes, refusal: ApiError | None) -> None:
        with self._lock:
            while len(self._known) >= MOST:
                del self._known[next(iter(self._known))]
            self._known[key] = (self._clock() + REMEMBERED, refusal)
