"""HTTPS through a proxy: a tunnel to the host's name, and what a proxy may say instead."""

import base64
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import create_connection, socket
from typing import Any

import pytest
import trustme

from diskyard.errors import AccessDenied, DiskyardError, InvalidRequest, SourceUnavailable
from importer.request import Access, get


class Server(ThreadingHTTPServer):
    daemon_threads = True
    context: ssl.SSLContext | None = None

    def get_request(self) -> Any:
        connection, address = super().get_request()
        wrapped = self.context.wrap_socket(connection, server_side=True) if self.context else connection
        return wrapped, address


@contextmanager
def served(handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext | None = None) -> Iterator[int]:
    with Server(("127.0.0.1", 0), handler) as server:
        server.context = context
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


class Origin(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"disk")

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class Proxy(BaseHTTPRequestHandler):
    """Leads every host to `port`, or answers `status`; keeps what it was asked."""

    port = 0
    status = 200
    asked: list[tuple[str, str]]

    def do_CONNECT(self) -> None:
        self.asked.append((self.path, self.headers.get("Proxy-Authorization", "")))
        self.send_response(self.status)
        self.end_headers()
        if self.status != 200:
            return
        with create_connection(("127.0.0.1", self.port)) as onward:
            back = threading.Thread(target=_pass_on, args=(onward, self.connection))
            back.start()
            _pass_on(self.connection, onward)
            back.join()
        self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def _pass_on(one: socket, other: socket) -> None:
    try:
        while chunk := one.recv(65536):
            other.sendall(chunk)
        other.shutdown(1)
    except OSError:
        return


@pytest.fixture
def proxy() -> type[Proxy]:
    return type("Fresh", (Proxy,), {"asked": []})


def test_the_tunnel_leads_to_the_host_by_its_name(proxy: type[Proxy], tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("images.invalid").configure_cert(context)

    with served(Origin, context) as proxy.port, served(proxy) as port:
        access = Access(ca_dir=str(tmp_path), proxies={"https": f"http://bob:p%40w@127.0.0.1:{port}"})
        answer = get("https://images.invalid/disk.img", access, {})
        body = memoryview(bytearray(8))

        assert answer.readinto(body) == 4
        answer.close()

    basic = "Basic " + base64.b64encode(b"bob:p@w").decode()
    assert proxy.asked == [("images.invalid:443", basic)]


@pytest.mark.parametrize(("status", "kind"), [(407, AccessDenied), (502, SourceUnavailable)])
def test_a_proxy_that_says_no_is_told(proxy: type[Proxy], status: int, kind: type[DiskyardError]) -> None:
    proxy.status = status
    refusal = pytest.raises(kind, match=f"the proxy 127.0.0.1 answered {status}")
    with served(proxy) as port, refusal:
        get("https://images.invalid/", Access(proxies={"https": f"127.0.0.1:{port}"}), {})


def test_a_proxy_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="expected a proxy such as"):
        get("http://images.invalid/", Access(proxies={"http": "socks5://127.0.0.1:1"}), {})


def test_a_host_that_is_written_as_a_forbidden_address_is_not_asked_of_a_proxy(proxy: type[Proxy]) -> None:
    with served(proxy) as port, pytest.raises(InvalidRequest, match="metadata"):
        get("https://169.254.169.254/", Access(proxies={"https": f"http://127.0.0.1:{port}"}), {})

    assert proxy.asked == []
