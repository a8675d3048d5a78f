"""Web servers for images: a real nginx, and one that lies, breaks off and forgets as it is told."""

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.builders import eventually

CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
  log_format bytes '$request_method $uri $status $body_bytes_sent "$http_range" "$http_if_range"';
  access_log {folder}/access.log bytes;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  limit_conn_zone $binary_remote_addr zone=client:1m;
  server {{
    listen 127.0.0.1:{port}{tls};
    root {root};
    location /slow/ {{ alias {root}/; limit_rate 16m; }}
    location /crawl/ {{ alias {root}/; limit_rate 3m; }}
    location /narrow/ {{ alias {root}/; limit_rate 20m; }}
    location /one-at-a-time/ {{ alias {root}/; limit_rate 40m; limit_conn client 1; }}
    location /no-ranges/ {{ alias {root}/; max_ranges 0; }}
    location /private/ {{ alias {root}/; auth_basic images; auth_basic_user_file {folder}/users; }}
    location /moved/ {{ rewrite ^/moved/(.*)$ /$1 redirect; }}
    location /broken/ {{ return 503; }}
  }}
}}
"""


@dataclass(frozen=True)
class Hit:
    """One line of nginx's access log."""

    method: str
    path: str
    status: int
    sent: int
    range: str
    if_range: str


@dataclass
class ImageServer:
    """nginx on loopback: `root` is served at /, throttled below /slow/, without ranges below /no-ranges/."""

    root: Path
    folder: Path
    port: int
    scheme: str = "http"

    def url(self, path: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/{path}"

    def hits(self) -> list[Hit]:
        lines = (self.folder / "access.log").read_text().splitlines()
        return [
            Hit(method, path, int(status), int(sent), span.strip('"'), check.strip('"'))
            for method, path, status, sent, span, check in (line.split(" ", 5) for line in lines)
        ]

    def forget(self) -> None:
        with (self.folder / "access.log").open("w"):
            pass


@contextmanager
def image_server(root: Path, folder: Path, certificate: Path | None = None) -> Iterator[ImageServer]:
    """nginx; with a certificate, its key and chain in one file, over TLS."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "users").write_text("ann:{PLAIN}secret\n")
    tls = f" ssl; ssl_certificate {certificate}; ssl_certificate_key {certificate}" if certificate else ""
    while True:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        process = _nginx(folder, CONFIGURATION.format(folder=folder, root=root, port=port, tls=tls))
        if process.poll() is None:  # else somebody else has taken the port meanwhile
            break
    try:
        yield ImageServer(root, folder, port, "https" if certificate else "http")
    finally:
        process.terminate()
        process.wait(60)


def _nginx(folder: Path, configuration: str) -> "subprocess.Popen[bytes]":
    """Started with that configuration: it serves, or has ended because its port is taken."""
    (folder / "nginx.conf").write_text(configuration)
    (folder / "pid").unlink(missing_ok=True)
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    process = subprocess.Popen(
        [program, "-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", str(folder / "error.log")],
        stderr=subprocess.DEVNULL,
    )
    eventually(lambda: (folder / "pid").exists() or process.poll() is not None)
    if process.poll() is not None:
        said = (folder / "error.log").read_text()
        assert "Address already in use" in said, said
    return process


Behaviour = Callable[["Exchange"], None]


@dataclass
class FaultServer:
    """Serves `body` with an ETag, ranges and all; a behaviour, taken from the front of `faults`, comes instead."""

    body: bytes
    etag: str = '"v1"'
    faults: list[Behaviour] = field(default_factory=list)
    seen: list[dict[str, str]] = field(default_factory=list)
    sent: int = 0
    port: int = 0
    options: bytes = b""
    """The answer to OPTIONS; none: it is not allowed."""

    def url(self, path: str = "disk.img") -> str:
        return f"http://127.0.0.1:{self.port}/{path}"


@dataclass
class Exchange:
    """One request, and what a behaviour may answer it with."""

    server: FaultServer
    handler: BaseHTTPRequestHandler

    @property
    def start(self) -> int:
        text = self.handler.headers.get("Range", "bytes=0-")
        return int(text.removeprefix("bytes=").split("-")[0])

    @property
    def end(self) -> int:
        last = self.handler.headers.get("Range", "bytes=0-").split("-")[1]
        return int(last) + 1 if last else len(self.server.body)

    def answer(
        self, status: int, headers: dict[str, str], body: bytes = b"", length: int | None = None
    ) -> None:
        self.handler.send_response(status)
        for name, value in {
            "Content-Length": str(len(body) if length is None else length),
            **headers,
        }.items():
            self.handler.send_header(name, value)
        self.handler.end_headers()
        self.handler.wfile.write(body)
        self.server.sent += len(body)

    def ranged(self, stop: int | None = None, **headers: str) -> None:
        """The honest answer; with `stop`, the connection ends before that byte of the body."""
        whole, start, end = self.server.body, self.start, self.end
        said = {"ETag": self.server.etag, "Content-Range": f"bytes {start}-{end - 1}/{len(whole)}"}
        said |= {name.replace("_", "-"): value for name, value in headers.items()}
        self.answer(206, said, whole[start : min(end, stop or end)], end - start)

    def whole(self) -> None:
        """The honest answer of a server that knows no ranges."""
        self.answer(200, {}, self.server.body)


def cut(at: int) -> Behaviour:
    """Break off before byte `at` of the body."""
    return lambda exchange: exchange.ranged(stop=at)


def status(code: int, body: bytes = b"", **headers: str) -> Behaviour:
    """Answer with a status and nothing else."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda exchange: exchange.answer(code, named, body)


@contextmanager
def fault_server(body: bytes, *faults: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[FaultServer]:
    served = FaultServer(body, faults=list(faults))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.seen.append({"path": self.path} | {k.lower(): v for k, v in self.headers.items()})
            behaviour = served.faults.pop(0) if served.faults else _honest
            behaviour(Exchange(served, self))

        def do_OPTIONS(self) -> None:
            Exchange(served, self).answer(200 if served.options else 405, {}, served.options)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def get_request(self) -> Any:
            connection, address = self.socket.accept()
            return tls.wrap_socket(connection, server_side=True) if tls else connection, address

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that hangs up is part of the test."""

    with Server(("127.0.0.1", 0), Handler) as server:
        served.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


def _honest(exchange: Exchange) -> None:
    asked = exchange.handler.headers
    check = asked.get("If-Range")
    if "Range" not in asked or (check and check != exchange.server.etag):
        exchange.answer(200, {"ETag": exchange.server.etag}, exchange.server.body)
        return
    exchange.ranged()
