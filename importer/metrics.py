"""HTTPS for /metrics and /progress on the pod's address.

The certificate is made on the spot: it proves nothing, it hides.
"""

import datetime
import ssl
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from diskyard.log import logger
from importer.report import Report

_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
_PAGES: Final[Mapping[str, Callable[[Report], tuple[str, str]]]] = {
    "/metrics": lambda report: (_TEXT, report.metrics()),
    "/healthz": lambda report: (_TEXT, report.metrics()),
    "/progress": lambda report: ("application/json", report.progress()),
}
"""Path -> content type and body."""

log = logger("metrics")


def serve(report: Report, host: str, port: int) -> None:
    """Answer until the process ends; an import needs nobody who watches, so a failure is only logged."""
    try:
        context = _context(host)
        with _Server((host, port), _handler(report, context)) as server:
            log.debug("serving", host=host, port=server.server_port)
            server.serve_forever()
    except OSError as error:
        log.warning("no metrics for this import", host=host, port=port, because=error)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, _request: Any, client_address: Any) -> None:
        log.debug("a client went away", client=client_address)


def _handler(report: Report, context: ssl.SSLContext) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """The handshake happens on the client's own thread: a silent client holds up nobody."""

        timeout = 10

        def setup(self) -> None:
            self.request.settimeout(self.timeout)
            self.request = context.wrap_socket(self.request, server_side=True)
            super().setup()

        def finish(self) -> None:
            """The server itself only knows the socket beneath TLS, which has been taken over."""
            with closing(self.request):
                super().finish()

        def do_GET(self) -> None:
            page = _PAGES.get(self.path.partition("?")[0])
            kind, text = page(report) if page else (_TEXT, "only /metrics and /progress are here\n")
            body = text.encode()
            self.send_response(200 if page else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            log.debug(format % args)

    return Handler


def _context(host: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile(prefix="diskyard-", suffix=".pem") as file:
        Path(file.name).write_bytes(_self_signed(host))
        context.load_cert_chain(file.name)
    return context


def _self_signed(host: str) -> bytes:
    """Key and certificate as PEM. `cryptography` is heavy to load, so only here."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem + certificate.public_bytes(serialization.Encoding.PEM)
