"""One GET: TLS, proxies, redirects, and credentials that reach only the origin that the user named.

`http.client` from the standard library: it reads into our own buffers, and costs the least per byte.
"""

import re
import socket
import ssl
import threading
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from email.message import Message
from email.utils import parsedate_to_datetime
from functools import cache, partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, responses
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit, urlunsplit

from diskyard import VERSION
from diskyard.errors import AccessDenied, DiskyardError, InvalidRequest, SourceMissing, SourceUnavailable
from importer.address import Network, Policy, within
from importer.connection import TIMEOUT, Origin, basic, opened, origin, proxy_credentials, silence, trouble
from importer.url import parsed

MAX_REDIRECTS: Final = 10
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_DENIED: Final = frozenset({401, 403, 407})
_PASSING: Final = frozenset({408, 425, 429})
ANSWERS: Final = frozenset({200, 206, 416})
"""Statuses that are no error."""
_PRINTABLE: Final = "".join(map(chr, range(33, 127)))
_TOO_LONG: Final = re.compile(r"\d{20}")
"""Digits of a number that no length has: 2^63 has 19."""
_KEPT: Final = 8
"""Connections that wait for another request."""


@dataclass(frozen=True)
class Access:
    """How an origin is asked. What is secret goes to it alone."""

    user: str = ""
    password: str = field(default="", repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    ca_dir: str = ""
    """A folder of authorities' certificates, or one file."""
    insecure: bool = False
    proxies: Mapping[str, str] = field(default_factory=dict)
    """Scheme -> URL of its proxy."""
    no_proxy: str = ""
    allowed: tuple[Network, ...] = ()
    """Addresses that the operator allows although they usually are refused."""
    led: bool = False
    """Whether a public server has sent us here: private addresses are none of its business."""
    patience: float = TIMEOUT
    """Seconds without a byte after which a connection is given up."""
    pinned: str = ""
    """A certificate in PEM: it is trusted, whatever host it names, and no other is."""

    @property
    def tls(self) -> ssl.SSLContext:
        """The system's authorities and every certificate in `ca_dir`; TLS 1.2 and later."""
        return _pinned(self.pinned) if self.pinned else _tls(self.ca_dir, self.insecure)

    def proxy(self, url: SplitResult) -> SplitResult | None:
        """The proxy for a URL, if any."""
        proxy = self.proxies.get(url.scheme, "")
        if not proxy or _bypassed(url.hostname or "", self.no_proxy):
            return None
        return urlsplit(proxy if "://" in proxy else f"http://{proxy}")


def header_lines(lines: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """`Name: value` lines as pairs. Raises InvalidRequest."""
    pairs = []
    for line in lines:
        name, colon, value = line.strip().partition(":")
        if not colon or not name.strip() or any(character in line.strip() for character in "\r\n\0"):
            raise InvalidRequest(
                f"an extra header must look like 'Name: value', found one that begins {name[:20]!r}"
            )
        if not name.isascii() or any(ord(character) > 255 for character in value):
            raise InvalidRequest(
                f"an extra header has characters that HTTP cannot carry, in the one that begins {name[:20]!r}: encode "
                "them as its server wants them"
            )
        pairs.append((name.strip(), value.strip()))
    return tuple(pairs)


def shown(url: str) -> str:
    """A URL for messages: without user, password and query; of what is none, how it begins."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("://")[0] + "://..."
    if not parts.netloc:
        return url.partition("?")[0]
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


@dataclass(frozen=True)
class Request:
    """What is asked of a URL."""

    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class _Line:
    """A connection, and what is known of it."""

    connection: HTTPConnection
    public: bool
    """Whether a public server is at its end."""
    wire: socket.socket
    """Its socket, which the connection forgets when a response is its last one."""


class Answer:
    """A response that is no error, and its connection."""

    def __init__(self, line: _Line, response: HTTPResponse, url: str, keep: Callable[[], None]) -> None:
        self.url = url
        self.status = response.status
        self.headers = response.headers
        self.public = line.public
        """Whether a public server gave it: what it leads to must be public too."""
        self.access = Access()
        """How to ask its URL again: without secrets where that is not the origin that was named."""
        self._connection = line.connection
        self._socket = line.wire
        self._response = response
        self._keep = keep
        self._closed = False

    def readinto(self, buf: memoryview) -> int:
        """Bytes of the body; 0 at its end, or where it broke off. Raises SourceUnavailable."""
        try:
            return self._response.readinto(buf)
        except (OSError, ValueError, HTTPException) as error:  # ValueError: closed by another thread
            raise SourceUnavailable(
                f"the connection to {shown(self.url)} broke off: {trouble(error, self._socket.gettimeout())}"
            ) from error

    def read(self, limit: int) -> bytes:
        """All of the body. Raises SourceUnavailable where it is longer than `limit`, or breaks off."""
        buf = bytearray(64 << 10)
        whole = bytearray()
        while count := self.readinto(memoryview(buf)):
            whole += buf[:count]
            if len(whole) > limit:
                raise SourceUnavailable(f"expected at most {limit} bytes from {shown(self.url)}, found more")
        return bytes(whole)

    def close(self) -> None:
        """Give the connection back: for the next request where all was read."""
        if self._closed:
            return
        self._closed = True
        if self._response.isclosed() and self._connection.sock is not None:
            self._keep()
            return
        self._response.close()
        self._connection.close()

    def silence(self) -> float | None:
        """As `connection.silence`."""
        return silence(self._socket)

    def abort(self) -> None:
        """End a read that waits in another thread: it sees the end of the connection."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


class Client:
    """Asks, follows redirects, and keeps connections for what is asked next. For several threads at once."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._idle: list[tuple[Origin, _Line]] = []

    def get(
        self, url: str, access: Access, headers: Mapping[str, str], answers: Container[int] = ANSWERS
    ) -> Answer:
        """The answer to a GET; every hop's address is checked before it is connected to.

        Secrets go to the origin of `url` alone; where a public server has sent us, only public addresses are asked.
        Raises the class of the error that a status not in `answers` means, and InvalidRequest for an address that
        may not be connected to.
        """
        first = origin(parsed(url))
        access = _signed(parsed(url), access)
        bare = replace(access, user="", password="", headers=())
        for _ in range(MAX_REDIRECTS + 1):
            parts = parsed(url)
            here = replace(access, led=bare.led) if origin(parts) == first else bare
            answer = self._ask(parts, here, Request(headers=headers))
            if answer.status not in _REDIRECTS:
                answer.access = here
                return _accepted(answer, answers)
            answer.close()
            place = answer.headers.get("Location")
            if not place:
                raise SourceUnavailable(
                    f"{shown(url)} redirects (status {answer.status}) without saying where to"
                )
            url = urljoin(url, quote(place, safe=_PRINTABLE, encoding="latin-1"))  # its bytes, as they came
            bare = replace(bare, led=bare.led or answer.public)
        raise InvalidRequest(
            f"more than {MAX_REDIRECTS} redirects, the last one to {shown(url)}: correct the URL"
        )

    def ask(self, url: str, access: Access, request: Request, answers: Container[int] = ANSWERS) -> Answer:
        """The answer to any request, where it is asked: no redirect is followed. Raises as `get` does."""
        parts = parsed(url)
        return _accepted(self._ask(parts, _signed(parts, access), request), answers)

    def close(self) -> None:
        """Close the connections that wait."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, line in idle:
            line.connection.close()

    def _ask(self, parts: SplitResult, access: Access, request: Request) -> Answer:
        """On a connection that waits, which its server may have closed meanwhile; else on another one."""
        sent = replace(request, headers=_headers(parts, access, request.headers))
        proxy = access.proxy(parts)
        whole = parts.scheme == "http" and proxy is not None
        line = self._waiting(origin(parts), led=access.led) if request.method == "GET" else None
        if line:
            with suppress(OSError, HTTPException):
                return self._asked(line, parts, sent, whole=whole)
        try:
            policy = Policy(access.allowed, access.led)
            connection, public = opened(origin(parts), proxy, policy, lambda: access.tls)
            connection.sock.settimeout(access.patience)
            return self._asked(_Line(connection, public, connection.sock), parts, sent, whole=whole)
        except ssl.SSLCertVerificationError as error:
            raise InvalidRequest(
                f"the certificate of {parts.netloc.rpartition('@')[2]} is not trusted: {error.verify_message}. Give "
                "its authority's certificate (certConfigMap, or --ca), or correct the URL"
            ) from error
        except (OSError, HTTPException) as error:
            said = trouble(error, access.patience)
            raise SourceUnavailable(f"cannot reach {shown(urlunsplit(parts))}: {said}") from error

    def _asked(self, line: _Line, parts: SplitResult, sent: Request, *, whole: bool) -> Answer:
        url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
        path = url if whole else urlunsplit(("", "", parts.path or "/", parts.query, ""))
        with ExitStack() as broken:
            broken.callback(line.connection.close)
            line.connection.request(sent.method, path, sent.body or None, sent.headers)
            keep = partial(self._keep, origin(parts), line)
            response = line.connection.getresponse()
            _check_numbers(response.headers)
            answer = Answer(line, response, url, keep)
            broken.pop_all()
            return answer

    def _waiting(self, to: Origin, *, led: bool) -> _Line | None:
        with self._lock:
            for place, (end, line) in enumerate(self._idle):
                if end == to and (line.public or not led):
                    return self._idle.pop(place)[1]
        return None

    def _keep(self, to: Origin, line: _Line) -> None:
        with self._lock:
            self._idle.append((to, line))
            oldest = self._idle.pop(0)[1] if len(self._idle) > self._kept else None
        if oldest:
            oldest.connection.close()


def _check_numbers(headers: Message) -> None:
    """Nothing where what says lengths and places can be read as numbers. Raises HTTPException."""
    for name in ("Content-Length", "Content-Range"):
        text = headers.get(name, "")
        if not text.isascii() or _TOO_LONG.search(text):
            raise HTTPException(f"it answered with {name} {text[:60]!r}, which is no number")


def get(url: str, access: Access, headers: Mapping[str, str], answers: Container[int] = ANSWERS) -> Answer:
    """The answer to one GET, as `Client.get` gives it."""
    return Client(kept=0).get(url, access, headers, answers)


def _signed(parts: SplitResult, access: Access) -> Access:
    """With the user and the password that a URL names."""
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return replace(access, user=user or access.user, password=password or access.password)


def _headers(parts: SplitResult, access: Access, headers: Mapping[str, str]) -> dict[str, str]:
    sent = {"User-Agent": f"diskyard/{VERSION}", **headers, **dict(access.headers)}
    sent |= basic(access.user, access.password)
    proxy = access.proxy(parts)
    if proxy and parts.scheme == "http":
        sent |= proxy_credentials(proxy)
    return sent


def _accepted(answer: Answer, answers: Container[int]) -> Answer:
    if answer.status in answers:
        return answer
    answer.close()
    phrase = responses.get(answer.status, "")
    text = f"expected status code 200, got {answer.status}. Status: {answer.status} {phrase}, from {shown(answer.url)}"
    refusal = _refusal(answer.status, text)
    if isinstance(refusal, SourceUnavailable):
        refusal.after = retry_after(answer.status, answer.headers)
    raise refusal


def retry_after(status: int, headers: Mapping[str, str] | Message) -> float:
    """Seconds that a server wants to be left alone: RFC 9110 §10.2.3, a number or a date; a moment after a 429."""
    lowered = {name.lower(): text for name, text in headers.items()}
    text, now = lowered.get("retry-after", "").strip(), lowered.get("date", "")
    least = 1.0 if status == HTTPStatus.TOO_MANY_REQUESTS else 0.0
    if text.isascii() and text.isdigit():
        return max(least, float(text[:9]))
    with suppress(ValueError, TypeError):
        return max(least, (parsedate_to_datetime(text) - parsedate_to_datetime(now)).total_seconds())
    return least


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


def _bypassed(host: str, no_proxy: str) -> bool:
    """As curl reads `no_proxy`: `*`, names, domains with all that is below them, and networks (10.0.0.0/8)."""
    names = [name.strip().lower().lstrip(".") for name in no_proxy.split(",") if name.strip()]
    return any(name in ("*", host) or host.endswith(f".{name}") or within(host, name) for name in names)


def certificates(ca: str) -> list[Path]:
    """The files in a folder of certificates, or the one file that is named. Raises InvalidRequest."""
    place = Path(ca)
    if not ca or place.is_file():
        return [place] if ca else []
    try:
        return sorted(path for path in place.glob("[!.]*") if path.is_file()) if place.stat() else []
    except OSError as error:
        raise InvalidRequest(
            f"cannot read the certificates in {ca}: {error.strerror}. Correct the path"
        ) from error


@cache
def _tls(ca_dir: str, insecure: bool) -> ssl.SSLContext:
    """Made once: it takes longer than a request."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in certificates(ca_dir):
        _trust(context, path)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@cache
def _pinned(certificate: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.load_verify_locations(cadata=certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _trust(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except (ssl.SSLError, OSError) as error:
        raise InvalidRequest(
            f"{path} is not a PEM certificate: {error}. Correct the certConfigMap"
        ) from error
