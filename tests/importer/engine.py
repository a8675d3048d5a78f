"""An oVirt engine of one disk: the calls that we make, with the answers of the oVirt Engine API's reference, in JSON.

A real engine cannot be had here; the data comes from a real host (`ovirt_host.py`).
"""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import trustme

from tests.importer.ovirt_host import Host

USER, PASSWORD = "admin@internal", "p&ss word"
DISK = "0f1ac4a9-6f7c-4a0e-9e8c-d3dd6b0c0001"
TRANSFER = "11112222-3333-4444-5555-666677778888"
DOMAIN = "d0ma1n00-0000-0000-0000-000000000001"
ACTIVE = "ac71ve00-0000-0000-0000-000000000001"
"""The disk's active image."""
NOWHERE = "https://127.0.0.1:1/images/gone"


@dataclass
class Engine:
    """What it does, and what it was asked."""

    host: Host
    url: str = ""
    status: str = "ok"
    phases: list[str] = field(default_factory=lambda: ["transferring"])
    stubborn: int = 0
    """Times that a transfer cannot be ended at first."""
    direct: bool = True
    """Whether the host can be reached directly."""
    storage: str = ""
    """The ticket's URL; empty for NBD."""
    expired: bool = False
    """Whether the first token has expired by its first use."""
    layers: dict[str, str] = field(default_factory=dict)
    """Snapshot (or ACTIVE) -> the URL of its one layer, for a ticket."""
    disks: dict[str, str] = field(default_factory=dict)
    """Snapshot -> the URL of the disk as it was then."""
    calls: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    ticket: str = ""

    def answer(self, method: str, path: str, body: bytes, token: str) -> tuple[int, Any]:
        self.calls.append(f"{method} {path}")
        if path == "/ovirt-engine/sso/oauth/token":
            return self._login({key: text[0] for key, text in parse_qs(body.decode()).items()})
        if path == "/ovirt-engine/services/sso-logout":
            return 200, {}
        if token not in [f"Bearer {known}" for known in self.tokens]:
            return 401, {}
        return self._api(method, path.removeprefix("/ovirt-engine/api"), json.loads(body or b"{}"))

    def _login(self, form: dict[str, str]) -> tuple[int, Any]:
        if (form["grant_type"], form["username"], form["password"]) != ("password", USER, PASSWORD):
            said = "Cannot authenticate user 'admin@internal': The user name or password is incorrect.."
            return 400, {"error": "access_denied", "error_description": said}
        name = f"token-{len(self.calls)}"
        self.tokens = [] if self.expired else [name]
        self.expired = False
        return 200, {"access_token": name, "scope": "ovirt-app-api", "token_type": "bearer"}

    def _api(self, method: str, path: str, said: dict[str, Any]) -> tuple[int, Any]:
        match (method, path.split("/")[1:]):
            case "GET", ["disks", name]:
                facts = {
                    "id": name,
                    "provisioned_size": str(self.host.size),
                    "status": self.status,
                    "format": "cow",
                    "image_id": ACTIVE,
                    "storage_domains": {"storage_domain": [{"id": "other"}, {"id": DOMAIN}]},
                }
                return (
                    (200, facts) if name == DISK else (404, {"detail": "Entity not found: Disk: id=" + name})
                )
            case "GET", ["storagedomains", name, "disksnapshots"]:
                found = [{"id": each} for each in self.layers if each != ACTIVE] if name == DOMAIN else []
                return 200, {"disk_snapshot": found} if found else {}
            case "POST", ["imagetransfers"]:
                self._choose(said)
                return 201, self._transfer()
            case "GET", ["imagetransfers", name] if name == TRANSFER:
                return 200, self._transfer()
            case "POST", ["imagetransfers", name, "extend"] if name == TRANSFER:
                return 200, {"status": "complete"}
            case "POST", ["imagetransfers", name, "finalize" | "cancel"] if name == TRANSFER:
                return self._end()
        return 404, {"detail": "Entity not found"}

    def _choose(self, said: dict[str, Any]) -> None:
        """What is asked for: the disk, a snapshot of it, or one layer."""
        alone = said == {**said, "direction": "download", "format": "cow"}
        assert alone or said == {**said, "direction": "download", "format": "raw"}
        if "snapshot" in said:
            name = said["snapshot"]["id"]
            self.storage = self.layers[name] if alone else self.disks[name]
        else:
            assert said["disk"] == {"id": DISK}
            self.storage = self.layers[ACTIVE] if alone else self.storage

    def _transfer(self) -> dict[str, Any]:
        phase = self.phases.pop(0) if len(self.phases) > 1 else self.phases[0]
        transfer = {"id": TRANSFER, "phase": phase, "direction": "download", "format": "raw"}
        if phase != "transferring":
            return transfer
        self.ticket = self.ticket or self.host.open(self.storage)
        return transfer | {"transfer_url": self.ticket if self.direct else NOWHERE, "proxy_url": self.ticket}

    def _end(self) -> tuple[int, Any]:
        if self.stubborn:
            self.stubborn -= 1
            return 409, {"reason": "Operation Failed", "detail": "[Cannot finalize: the disk is locked.]"}
        if self.ticket:
            self.host.close(self.ticket.rpartition("/")[2])
        self.ticket = ""
        return 200, {"status": "complete"}


@contextmanager
def engine(host: Host, authority: trustme.CA) -> Iterator[Engine]:
    """One that runs."""
    running = Engine(host)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet for an answer

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            token = self.headers.get("Authorization", "")
            status, said = running.answer(self.command, self.path, body, token)
            content = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    running.url = f"https://127.0.0.1:{server.server_port}/ovirt-engine/api"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
