"""A bucket with one object, as Google's servers guard it: tokens that expire, generations that go away."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.importer.stores import Quiet

NAME = "importer@project.iam.gserviceaccount.com"
KEY = rsa.generate_private_key(65537, 2048)
AUDIENCE = "https://oauth2.googleapis.com/token"


@dataclass
class Google:
    """What the server knows; `token` empty: everyone may read."""

    body: bytes
    endpoint: str = ""
    generation: str = "1"
    token: str = ""
    tokens: int = 0
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @property
    def key(self) -> str:
        """The service account's key file."""
        pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        account = {"type": "service_account", "client_email": NAME, "private_key": pem, "private_key_id": "1"}
        return json.dumps({**account, "token_uri": f"{self.endpoint}/token"})

    def grant(self, assertion: str) -> dict[str, Any]:
        """A fresh token; the one before is good for nothing from now on."""
        claims = jwt.decode(assertion, KEY.public_key(), algorithms=["RS256"], audience=AUDIENCE)
        assert claims["iss"] == NAME
        assert claims["scope"].endswith("devstorage.read_only")
        self.tokens += 1
        self.token = f"token-{self.tokens}"
        return {"access_token": self.token, "expires_in": 3600, "token_type": "Bearer"}

    def overwrite(self, body: bytes) -> None:
        self.body, self.generation = body, str(int(self.generation) + 1)


@contextmanager
def google(body: bytes) -> Iterator[Google]:
    """Serves `gs://bucket/a disk` at `endpoint`."""
    known = Google(body)
    with Quiet(("127.0.0.1", 0), _handler(known)) as server:
        known.endpoint = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield known
        finally:
            server.shutdown()
            thread.join()


def _handler(known: Google) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.answer(200, json.dumps(known.grant(sent["assertion"][0])).encode())

        def do_GET(self) -> None:
            known.seen.append((self.path, {name.lower(): text for name, text in self.headers.items()}))
            parts = urlsplit(self.path)
            if known.token and self.headers.get("Authorization") != f"Bearer {known.token}":
                self.answer(401, b"{}")
            elif not unquote(parts.path).endswith("/storage/v1/b/bucket/o/a disk"):
                self.answer(404, b"{}")
            elif not parts.path.startswith("/download/"):
                said = {"size": str(len(known.body)), "generation": known.generation}
                self.answer(200, json.dumps(said).encode())
            elif parse_qs(parts.query)["generation"] != [known.generation]:
                self.answer(404, b"{}")
            else:
                self.part()

        def part(self) -> None:
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            start, end = int(first), int(last) + 1 if last else len(known.body)
            span = f"bytes {start}-{end - 1}/{len(known.body)}"
            self.answer(206, known.body[start:end], {"Content-Range": span, "ETag": f'"{known.generation}"'})

        def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, text in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
