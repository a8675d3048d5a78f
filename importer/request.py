"""One GET: TLS, proxies, redirects, and credentials that reach only the origin that the user named.

`http.client` from the standard library: it reads into our own buffers, and costs the least per byte.
"""

import base64
import http.client
import socket
import ssl
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

from diskyard import VERSION
from diskyard.errors import (
    AccessDenied,
    DiskyardError,
    InvalidRequest,
    SourceMissing,
    SourceUnavailable,
)  # fmt: skip

MAX_REDIRECTS: Final = 10
TIMEOUT: Final = 60.0
"""Seconds without a byte after which a connection is given up."""
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_DENIED: Final = frozenset({401, 403, 407})
_PASSING: Final = frozenset({408, 425, 429})
ANSWERS: Final = frozenset({200, 206, 416})
"""Statuses that are no error."""


@dataclass(frozen=True)
class Access:
    """How an origin is asked. What is secret goes to it alone."""

    user: str = ""
    password: str = field(default="", repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    ca_dir: str = ""
    insecure: bool = False
    proxies: Mapping[str, str] = field(default_factory=dict)
    """Scheme -> URL of its proxy."""
    no_proxy: str = ""

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """The system's authorities and every certificate in `ca_dir`; TLS 1.2 and later."""
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        for path in sorted(Path(self.ca_dir).iterdir()) if self.ca_dir else ():
            if path.is_file() and not path.name.startswith("."):
                _trust(context, path)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def proxy(self, url: SplitResult) -> SplitResult | None:
        """The proxy for a URL, if any."""
        proxy = self.proxies.get(url.scheme, "")
        return urlsplit(proxy) if proxy and not _bypassed(url.hostname or "", self.no_proxy) else None


def header_lines(lines: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """`Name: value` lines as pairs. Raises InvalidRequest."""
    pairs = []
    for line in lines:
        name, colon, value = line.strip().partition(":")
        if not colon or not name.strip() or any(character in line.strip() for character in "\r\n\0"):
            raise InvalidRequest(
                f"an extra header must look like 'Name: value', found one that begins {name[:20]!r}"
            )
        pairs.append((name.strip(), value.strip()))
    return tuple(pairs)


def parsed(url: str) -> SplitResult:
    """An http or https URL in its parts. Raises InvalidRequest."""
    if any(ord(character) <= 32 or ord(character) == 127 for character in url):
        raise InvalidRequest(f"the URL {url!r} has blanks or control characters in it: encode them (%20)")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise InvalidRequest(f"Invalid source URL: {url}: {error}") from error
    if parts.scheme not in ("http", "https"):
        raise InvalidRequest(f"Invalid source URL scheme: {url}: expected http:// or https://")
    if not parts.hostname:
        raise InvalidRequest(f"Invalid source URL: {url}: it names no host")
    return parts


def shown(url: str) -> str:
    """A URL for messages: without user, password and query."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


class Answer:
    """A response that is no error, and its connection."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse, url: str):
        self.url = url
        self.status = response.status
        self.headers = response.headers
        self._connection = connection
        self._response = response

    def readinto(self, buf: memoryview) -> int:
        """Bytes of the body; 0 at its end, or where it broke off. Raises SourceUnavailable."""
        try:
            return self._response.readinto(buf)
        except (OSError, http.client.HTTPException) as error:
            raise SourceUnavailable(
                f"the connection to {shown(self.url)} broke off: {_said(error)}"
            ) from error

    def close(self) -> None:
        self._response.close()
        self._connection.close()


def get(url: str, access: Access, headers: Mapping[str, str], answers: Container[int] = ANSWERS) -> Answer:
    """The answer to a GET, redirects followed. Raises the class of the error that a status not in `answers` means."""
    origin = _origin(parsed(url))
    for _ in range(MAX_REDIRECTS + 1):
        parts = parsed(url)
        answer = _ask(parts, access, headers, trusted=_origin(parts) == origin)
        if answer.status not in _REDIRECTS:
            return _accepted(answer, answers)
        answer.close()
        place = answer.headers.get("Location")
        if not place:
            raise SourceUnavailable(
                f"{shown(url)} redirects (status {answer.status}) without saying where to"
            )
        url = urljoin(url, place)
    raise InvalidRequest(
        f"more than {MAX_REDIRECTS} redirects, the last one to {shown(url)}: correct the URL"
    )


def _ask(parts: SplitResult, access: Access, headers: Mapping[str, str], *, trusted: bool) -> Answer:
    url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
    sent = {"User-Agent": f"diskyard/{VERSION}", **headers}
    if trusted:
        sent |= dict(access.headers) | _basic(
            parts.username or access.user, parts.password or access.password
        )
    proxy = access.proxy(parts)
    connection = _connection(parts, access, proxy)
    path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    if proxy and parts.scheme == "http":
        path = url
        sent |= _basic(proxy.username or "", proxy.password or "", "Proxy-Authorization")
    try:
        connection.request("GET", path, headers=sent)
        return Answer(connection, connection.getresponse(), url)
    except ssl.SSLCertVerificationError as error:
        connection.close()
        raise InvalidRequest(
            f"the certificate of {parts.netloc.rpartition('@')[2]} is not trusted: {error.verify_message}. Give its "
            "authority's certificate (certConfigMap), or correct the URL"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise SourceUnavailable(f"cannot reach {shown(url)}: {_said(error)}") from error


def _connection(parts: SplitResult, access: Access, proxy: SplitResult | None) -> http.client.HTTPConnection:
    host, port = parts.hostname or "", parts.port
    if parts.scheme == "http":
        to = proxy or parts
        return http.client.HTTPConnection(to.hostname or "", to.port or 80, timeout=TIMEOUT)
    if proxy is None:
        return http.client.HTTPSConnection(host, port or 443, timeout=TIMEOUT, context=access.tls)
    tunnel = http.client.HTTPSConnection(
        proxy.hostname or "", proxy.port or 3128, timeout=TIMEOUT, context=access.tls
    )
    tunnel.set_tunnel(
        host, port or 443, _basic(proxy.username or "", proxy.password or "", "Proxy-Authorization")
    )
    return tunnel


def _accepted(answer: Answer, answers: Container[int]) -> Answer:
    if answer.status in answers:
        return answer
    answer.close()
    phrase = http.client.responses.get(answer.status, "")
    text = f"expected status code 200, got {answer.status}. Status: {answer.status} {phrase}, from {shown(answer.url)}"
    raise _refusal(answer.status, text)


def _refusal(status: int, text: str) -> DiskyardError:
    if status in (404, 410):
        return SourceMissing(f"{text}. Correct the URL")
    if status in _DENIED:
        return AccessDenied(
            f"{text}. Give credentials that may read it (secretRef), or a URL that needs none"
        )
    if status in _PASSING or status >= 500:
        return SourceUnavailable(f"{text}. The server is in trouble or busy: it is tried again")
    return InvalidRequest(f"{text}. The server does not take this request: correct the URL")


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _basic(user: str, password: str, name: str = "Authorization") -> dict[str, str]:
    if not user and not password:
        return {}
    pair = f"{unquote(user)}:{unquote(password)}".encode()
    return {name: f"Basic {base64.b64encode(pair).decode()}"}


def _bypassed(host: str, no_proxy: str) -> bool:
    """As curl reads `no_proxy`: `*`, names, and domains with all that is below them."""
    names = [name.strip().lower().lstrip(".") for name in no_proxy.split(",") if name.strip()]
    return any(name in ("*", host) or host.endswith(f".{name}") for name in names)


def _trust(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except (ssl.SSLError, OSError) as error:
        raise InvalidRequest(
            f"{path} is not a PEM certificate: {error}. Correct the certConfigMap"
        ) from error


def _said(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return f"no such host ({error.strerror})"
    if isinstance(error, TimeoutError):
        return f"nothing came for {TIMEOUT:.0f} seconds"
    return str(error) or type(error).__name__
