"""One connection to the host of a URL, or through a proxy, with TLS where the URL says so: to a checked address.

`http.client` never opens a connection of its own here: it would resolve the name once more, unchecked.
"""

import base64
import socket
import ssl
import struct
import sys
from collections.abc import Callable
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, unquote, urlsplit

from diskyard.errors import AccessDenied, InvalidRequest, SourceUnavailable
from importer import address
from importer.address import Policy

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

TIMEOUT: Final = 60.0
"""Seconds without a byte after which a connection is given up."""
Origin = tuple[str, str, int]
_LONG: Final = 64 << 10
_GATHERED: Final = 256 << 10
"""Bytes that a long read has the kernel gather before it wakes us: half as many turns, for the sender's side, too."""
_LAST_RECEIVED: Final = 52
"""Where `struct tcp_info` has tcpi_last_data_recv, milliseconds: include/uapi/linux/tcp.h."""


def origin(parts: SplitResult) -> Origin:
    """Scheme, host and port."""
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def same_origin(url: str, other: str) -> bool:
    """Whether two URLs name one scheme, host and port."""
    return origin(urlsplit(url)) == origin(urlsplit(other))


def basic(user: str, password: str, name: str = "Authorization") -> dict[str, str]:
    """The header that says who asks; none for nobody."""
    if not user and not password:
        return {}
    return {name: f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def proxy_credentials(proxy: SplitResult) -> dict[str, str]:
    """The header that says who asks a proxy, as its URL names it."""
    return basic(unquote(proxy.username or ""), unquote(proxy.password or ""), "Proxy-Authorization")


def silence(sock: socket.socket | None) -> float | None:
    """Seconds since bytes last came to a TCP connection; None for what is none, or is closed."""
    try:
        found = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_RECEIVED + 4) if sock else b""
    except OSError:
        return None
    return int.from_bytes(found[_LAST_RECEIVED:], sys.byteorder) / 1000 if found else None


class Whole(socket.socket):
    """A plain connection whose long reads come back full: a wait is the kernel's, and not one for each packet.

    So is its patience: only a socket without a timeout of Python's own waits for all of a read (MSG_WAITALL).
    """

    _patience: float | None = None

    @classmethod
    def of(cls, sock: socket.socket) -> "Whole":
        """The same connection, which `sock` is no more."""
        whole = cls(fileno=sock.detach())
        whole.settimeout(TIMEOUT)
        return whole

    def settimeout(self, value: float | None, /) -> None:
        super().settimeout(None)
        self._patience = value
        seconds = struct.pack("ll", int(value or 0), int((value or 0) % 1 * 1e6))
        self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, seconds)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)

    def gettimeout(self) -> float | None:
        return self._patience

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int = 0, flags: int = 0, /) -> int:
        length = nbytes or memoryview(buffer).nbytes
        try:
            if length < 2 * _GATHERED:
                return super().recv_into(
                    buffer, length, flags | (socket.MSG_WAITALL if length >= _LONG else 0)
                )
            return self._gathered(buffer, length - _GATHERED, flags)
        except BlockingIOError as error:
            raise TimeoutError("timed out") from error

    def _gathered(self, buffer: "WriteableBuffer", length: int, flags: int) -> int:
        """Read this much, behind which as much as is gathered must still come: what is less would wake nobody."""
        self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, _GATHERED)
        try:
            return super().recv_into(buffer, length, flags | socket.MSG_WAITALL)
        finally:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


def opened(
    to: Origin, proxy: SplitResult | None, policy: Policy, tls: Callable[[], ssl.SSLContext]
) -> tuple[HTTPConnection, bool]:
    """A connection, and whether a public server is at its end. Raises InvalidRequest, AccessDenied, OSError.

    Through a proxy it is the proxy's own address that is checked: the user or the operator has named it. The host,
    which only the proxy resolves, counts as public, and is checked where it is written as an address.
    """
    scheme, host, port = to
    with ExitStack() as broken:
        if proxy is None:
            sock = address.connected(host, port, policy, TIMEOUT)
            public = address.public(address.peer(sock))
        else:
            address.check_literal(host, policy)
            sock = _proxy(proxy, policy)
            public = True
        broken.callback(sock.close)
        if proxy is not None and scheme == "https":
            _open_tunnel(sock, host, port, proxy)
        if scheme == "https":
            connection: HTTPConnection = HTTPSConnection(host, port, timeout=TIMEOUT, context=tls())
            sock = tls().wrap_socket(sock, server_hostname=host)
        else:
            connection = HTTPConnection(host, port, timeout=TIMEOUT)
            sock = Whole.of(sock)
        connection.sock = sock
        connection.auto_open = 0
        broken.pop_all()
    return connection, public


def trouble(error: Exception, patience: float | None) -> str:
    """What went wrong with a connection, for people; `patience`: its seconds without a byte."""
    if isinstance(error, socket.gaierror):
        return f"no such host ({error.strerror})"
    if isinstance(error, TimeoutError):
        return f"nothing came for {patience or TIMEOUT:g} seconds"
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return "what answers does not speak TLS. It may be http:// and not https://"
    if isinstance(error, ConnectionError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _proxy(proxy: SplitResult, policy: Policy) -> socket.socket:
    if proxy.scheme != "http" or not proxy.hostname:
        raise InvalidRequest(
            f"expected a proxy such as http://proxy.example:3128, found scheme {proxy.scheme!r} and host "
            f"{proxy.hostname or ''!r}"
        )
    return address.connected(proxy.hostname, proxy.port or 80, Policy(policy.allowed), TIMEOUT)


def _open_tunnel(sock: socket.socket, host: str, port: int, proxy: SplitResult) -> None:
    """Have a proxy pass bytes through to a host: RFC 9110 §9.3.6."""
    name = f"[{host}]" if ":" in host else host.encode("idna").decode()
    sent = {"Host": f"{name}:{port}"} | proxy_credentials(proxy)
    lines = [f"CONNECT {name}:{port} HTTP/1.1", *(f"{key}: {text}" for key, text in sent.items()), "", ""]
    sock.sendall("\r\n".join(lines).encode())
    response = HTTPResponse(sock, method="CONNECT")
    response.begin()
    response.close()
    if response.status == 200:
        return
    said = f"the proxy {proxy.hostname} answered {response.status} {response.reason} for {name}:{port}"
    if response.status in (401, 403, 407):
        raise AccessDenied(f"{said}. Give it credentials (http://USER:PASSWORD@HOST), or have it allow this")
    raise SourceUnavailable(f"{said}. It is in trouble or busy: it is tried again")
