"""docker-registry in three dresses over one store: open, behind a password and TLS, behind a token server."""

import base64
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import trustme
import yaml
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.builders import eventually

USER: Final = "ann"
PASSWORD: Final = "secret"
_HTPASSWD: Final = "ann:$2y$04$A8Ec.9.1yWe9mpbdY1m4Aex0zuGqceM1QQXypDZydwzv4Vmo00vxG\n"


@dataclass
class Registry:
    """A docker-registry on loopback."""

    host: str
    store: Path

    def blob(self, digest: str) -> Path:
        """Where the registry keeps a blob."""
        algorithm, _, name = digest.partition(":")
        return self.store / "docker/registry/v2/blobs" / algorithm / name[:2] / name / "data"


@contextmanager
def registry(folder: Path, store: Path, **more: Any) -> Iterator[Registry]:
    """A docker-registry; `more` are sections of its configuration, merged into ours."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    sections: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(store)}},
        **more,
    }
    sections["http"] = {"addr": f"127.0.0.1:{port}", **more.get("http", {})}
    (folder / "config.yml").write_text(yaml.safe_dump(sections))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(folder / "config.yml")], stdout=log, stderr=log
        )
    try:
        eventually(lambda: _listens(port))
        yield Registry(f"127.0.0.1:{port}", store)
    finally:
        process.terminate()
        process.wait(60)


def passwords(folder: Path) -> dict[str, Any]:
    """The section that asks everyone for USER's password."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "htpasswd").write_text(_HTPASSWD)
    return {"htpasswd": {"realm": "images", "path": str(folder / "htpasswd")}}


@dataclass
class TokenServer:
    """Gives tokens to USER, and says what it was asked; `lifetime` in seconds."""

    realm: str
    bundle: Path
    asked: list[dict[str, str]] = field(default_factory=list)
    lifetime: int = 300

    @property
    def auth(self) -> dict[str, Any]:
        """The section of a registry that trusts it."""
        said = {
            "realm": self.realm,
            "service": "images",
            "issuer": "tokens",
            "rootcertbundle": str(self.bundle),
        }
        return {"token": said}


@contextmanager
def token_server(folder: Path) -> Iterator[TokenServer]:
    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "bundle.pem"))
    leaf = authority.issue_cert("tokens.example")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
            told = self.headers.get("Authorization", "")
            tokens.asked.append(query | {"authorization": told})
            wanted = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            known = told == f"Basic {wanted}"
            body = json.dumps({"token": _token(leaf, query, tokens.lifetime)}).encode() if known else b"{}"
            self.send_response(200 if known else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        tokens = TokenServer(f"http://127.0.0.1:{server.server_port}/token", folder / "bundle.pem")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield tokens
        finally:
            server.shutdown()
            thread.join()


def _token(leaf: trustme.LeafCert, query: dict[str, str], lifetime: int) -> str:
    """A JSON web token that says what was asked for, signed with ES256 (RFC 7518 §3.4)."""
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    certificate = "".join(leaf.cert_chain_pems[0].bytes().decode().splitlines()[1:-1])
    kind, name, actions = query.get("scope", "::").split(":")
    now = int(time.time())
    header = {"typ": "JWT", "alg": "ES256", "x5c": [certificate]}
    claims = {
        "iss": "tokens", "sub": USER, "aud": query.get("service", ""), "iat": now, "nbf": now - 10,
        "exp": now + lifetime, "jti": "1", "access": [{"type": kind, "name": name, "actions": actions.split(",")}],
    }  # fmt: skip
    text = f"{_packed(json.dumps(header).encode())}.{_packed(json.dumps(claims).encode())}"
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{_packed(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _packed(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@dataclass
class Wire:
    """A stretch of network that can be cut."""

    host: str
    cuts: list[int]
    """After so many bytes of an answer, one connection after the other."""
    passed: int = 0


@contextmanager
def wire(to: str, *cuts: int) -> Iterator[Wire]:
    """Passes bytes on to HOST:PORT; a connection breaks once it has brought as many bytes as the next cut says."""
    there, _, port = to.partition(":")
    listener = socket.create_server(("127.0.0.1", 0))
    found = Wire(f"127.0.0.1:{listener.getsockname()[1]}", list(cuts))
    threads: list[threading.Thread] = []

    def serve() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection((there, int(port)))
            for pump in (_up, _down):
                thread = threading.Thread(target=pump, args=(near, far, found))
                thread.start()
                threads.append(thread)

    threads.append(threading.Thread(target=serve))
    threads[0].start()
    try:
        yield found
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in threads:
            thread.join()


def _up(near: socket.socket, far: socket.socket, _: Wire) -> None:
    _pump(near, far, None)


def _down(near: socket.socket, far: socket.socket, passing: Wire) -> None:
    _pump(far, near, passing)


def _pump(source: socket.socket, target: socket.socket, counted: Wire | None) -> None:
    brought = 0
    try:
        while piece := source.recv(65536):
            brought += len(piece)
            if counted is not None:
                counted.passed += len(piece)  # before anybody can have it
            target.sendall(piece)
            if counted is not None and counted.cuts and brought >= counted.cuts[0]:
                counted.cuts.pop(0)
                break
    except OSError:
        pass  # the other side has gone: that is what a wire is for
    finally:
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        if counted is not None:
            source.close()
            target.close()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
