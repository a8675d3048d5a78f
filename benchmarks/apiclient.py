"""A client of API servers that costs little itself: HTTP/1.1 by hand over TLS, one request at a time."""

import base64
import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

_PIECE: Final = 1 << 18


@dataclass(frozen=True)
class Door:
    """Where a server is, and who may come in."""

    host: str
    port: int
    tls: ssl.SSLContext
    token: str = ""

    @classmethod
    def of(cls, kubeconfig: Path) -> "Door":
        """The door that a kubeconfig of ours leads to."""
        said = yaml.safe_load(kubeconfig.read_text())
        cluster, user = said["clusters"][0]["cluster"], said["users"][0]["user"]
        host, port = cluster["server"].removeprefix("https://").rsplit(":", 1)
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        return cls(host, int(port), ssl.create_default_context(cadata=authority), user["token"])

    @classmethod
    def trusting(cls, host: str, port: int, certificate: Path, token: str) -> "Door":
        """The door of a server that has made its own certificate."""
        return cls(host, port, ssl.create_default_context(cafile=str(certificate)), token)


class Connection:
    """One connection to a server."""

    def __init__(self, door: Door) -> None:
        plain = socket.create_connection((door.host, door.port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = door.tls.wrap_socket(plain, server_hostname=door.host)
        said = f"Authorization: Bearer {door.token}\r\n" if door.token else ""
        self._said = f"Host: {door.host}:{door.port}\r\nAccept: application/json\r\n{said}"
        self._left = b""

    def close(self) -> None:
        self.socket.close()

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> bytes:
        """The body of the answer, which must not be a refusal."""
        self.send(method, path, body, kind)
        head = self.head()
        found = b"".join(self._body(head.lower()))
        assert head.startswith(b"HTTP/1.1 2"), f"{method} {path}: {head[:100]!r} {found[:300]!r}"
        return found

    def send(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> None:
        more = f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n" if body else ""
        self.socket.sendall(f"{method} {path} HTTP/1.1\r\n{self._said}{more}\r\n".encode() + body)

    def head(self) -> bytes:
        """The status line and headers of an answer."""
        return self._until(b"\r\n\r\n")

    def watch(self, path: str) -> Iterator[dict[str, Any]]:
        """What a watch tells, one change after the other."""
        self.send("GET", path)
        head, line = self.head(), b""
        assert head.startswith(b"HTTP/1.1 200"), head
        for piece in self._body(head.lower()):
            *whole, line = (line + piece).split(b"\n")
            yield from map(json.loads, whole)

    def _body(self, head: bytes) -> Iterator[bytes]:
        if b"transfer-encoding: chunked" in head:
            while size := int(self._until(b"\r\n"), 16):
                yield self._exactly(size + 2)[:-2]
            self._until(b"\r\n")
        else:
            size = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            yield self._exactly(size)

    def _until(self, end: bytes) -> bytes:
        while end not in self._left:
            self._more()
        found, _, self._left = self._left.partition(end)
        return found

    def _exactly(self, size: int) -> bytes:
        pieces, have = [self._left], len(self._left)
        while have < size:
            pieces.append(self.socket.recv(_PIECE))
            have += len(pieces[-1])
            assert pieces[-1], "the server has ended the connection"
        whole = b"".join(pieces)
        self._left = whole[size:]
        return whole[:size]

    def _more(self) -> None:
        piece = self.socket.recv(_PIECE)
        assert piece, "the server has ended the connection"
        self._left += piece
