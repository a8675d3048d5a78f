"""What clients of the proxy may take: time, pace and places."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from diskyard.api.names import upload
from diskyard.api.upload import EXPIRY
from diskyard.errors import InvalidRequest


@dataclass(frozen=True)
class Limits:
    """Seconds, bytes a second, and requests at once."""

    idle: float = 60.0
    """Without a byte of a body."""
    total: float = 24 * 3600.0
    """For one request."""
    slowest: float = 1024.0
    """A body that comes slower than this, once it has been waited for as long as `idle`, is given up."""
    requests: int = 256
    one_client: int = 64
    ready: float = 10.0
    """Until the claim's server has to be ready."""
    expiry: float = EXPIRY
    """For which an upload that nobody goes on with is kept."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Limits":
        """The limits that an environment says. Raises InvalidRequest."""
        return cls(
            idle=_positive(env, upload.ENV_IDLE, cls.idle),
            total=_positive(env, upload.ENV_TOTAL, cls.total),
            slowest=_positive(env, upload.ENV_SLOWEST, cls.slowest),
            requests=int(_positive(env, upload.ENV_REQUESTS, cls.requests)),
            one_client=int(_positive(env, upload.ENV_ONE_CLIENT, cls.one_client)),
            expiry=_positive(env, upload.ENV_EXPIRY, cls.expiry),
        )


USUAL: Final = Limits()
_FIRST: Final = 10.0
"""Seconds that a proxy is ahead of its server in giving a client up: it is the one who can say so."""


def told(limits: Limits) -> dict[str, str]:
    """The headers by which a proxy tells a server how long to bear silence, and to keep what nobody goes on with."""
    return {upload.IDLE_HEADER: f"{limits.idle + _FIRST:g}", upload.EXPIRY_HEADER: f"{limits.expiry:g}"}


def idle(headers: Mapping[str, str], otherwise: float) -> float:
    """How long a server bears silence in a request. Raises InvalidRequest."""
    return _positive(headers, upload.IDLE_HEADER, otherwise)


def expiry(headers: Mapping[str, str], otherwise: float) -> float:
    """How long a server keeps an upload that nobody goes on with. Raises InvalidRequest."""
    return _positive(headers, upload.EXPIRY_HEADER, otherwise)


def _positive(env: Mapping[str, str], name: str, otherwise: float) -> float:
    text = env.get(name) or str(otherwise)
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise InvalidRequest(f"{name}: expected a number above 0, found {text!r}")
    return found
