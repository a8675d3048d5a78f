"""Proxies in front of an upload pod, and the API server's objects that they go by."""

import base64
import contextlib
import hmac
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

from datavolume_controller import authorities, uploader
from diskyard.api import token
from diskyard.api.meta import CLAIM, NAMESPACE, POD, SECRET, Key
from diskyard.api.names import cdi, upload
from diskyard.api.token import Grant
from diskyard.web import server
from diskyard.web.issue import Pem
from diskyard.web.server import Running
from standalone.store.objects import Objects
from tests import builders
from tests.uploadproxy.pod import BODY, TUS, Pod, upload_pod
from uploadproxy import proxy
from uploadproxy.limits import Limits
from uploadproxy.trust import Trust

CLAIM_NAME = "disk"
LIFE = timedelta(minutes=5)


@dataclass
class Front:
    """A pod, and proxies side by side before it."""

    store: Objects
    pod: Pod
    session: requests.Session
    stack: contextlib.ExitStack
    proxies: list[Running] = field(default_factory=list)

    def proxy(self, **limits: Any) -> str:
        """One more; its URL."""
        app = proxy.application(Trust(self.store), Limits(**limits))
        running = server.start(app, server.Place("127.0.0.1", lends=True))
        self.stack.callback(running.stop)
        self.proxies.append(running)
        return running.url

    def bearer(self, life: timedelta = LIFE, **other: Any) -> dict[str, str]:
        """The header with a token for an upload into the claim; `other` says what else it is for."""
        grant = Grant(**{"operation": token.UPLOAD, "name": CLAIM_NAME, "namespace": "default", **other})
        entries = self.store.get(SECRET, Key(upload.SIGNING_KEY, cdi.NAMESPACE))["data"]
        return _bearer(grant, base64.b64decode(entries[upload.PRIVATE_KEY]), life)

    @property
    def public_key(self) -> bytes:
        """What whoever checks tokens knows."""
        entries = self.store.get(SECRET, Key(upload.SIGNING_KEY, cdi.NAMESPACE))["data"]
        return base64.b64decode(entries[upload.PUBLIC_KEY])

    def patching(self, offset: int) -> dict[str, str]:
        """The headers of a PATCH."""
        return {**BODY, **self.bearer(), "Upload-Offset": str(offset)}

    def create(self, url: str, length: int) -> str:
        """A resumable upload by that proxy: its path."""
        headers = {**TUS, **self.bearer(), "Upload-Length": str(length)}
        answer = self.session.post(url + upload.UPLOADS, headers=headers, timeout=60)
        assert answer.status_code == 201, answer.text
        return answer.headers["Location"]

    def patch(self, url: str, offset: int, body: Any) -> requests.Response:
        return self.session.patch(url, data=body, headers=self.patching(offset), timeout=120)

    def reached(self) -> bool:
        """Whether bytes of an upload have come to the pod: its client has the place that it takes."""
        return bool(self.pod.progress()["fetched"])

    def offset(self, url: str) -> int:
        """What HEAD says; -1 while nobody knows."""
        answer = self.session.head(url, headers={**TUS, **self.bearer()}, timeout=60)
        return int(answer.headers["Upload-Offset"]) if answer.status_code == 200 else -1


def resigned(bearer: dict[str, str], algorithm: str, secret: bytes = b"") -> dict[str, str]:
    """A token that says the same, signed in another way: with nothing, or with what everybody may know."""
    _, claims, _ = bearer["Authorization"].removeprefix("Bearer ").split(".")
    head = _encoded(json.dumps({"alg": algorithm, "typ": "JWT"}).encode())
    sign = _encoded(hmac.digest(secret, f"{head}.{claims}".encode(), "sha256")) if secret else ""
    return {"Authorization": f"Bearer {head}.{claims}.{sign}"}


def _encoded(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def _bearer(grant: Grant, key: bytes, life: timedelta) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.signed(grant, key, datetime.now(UTC), life)}"}


def forged() -> dict[str, str]:
    """The header with a token that is right but for its key."""
    private, _ = token.keys()
    return _bearer(Grant(token.UPLOAD, CLAIM_NAME, "default"), private, LIFE)


@contextlib.contextmanager
def front(store: Objects, folder: Path, **job: Any) -> Iterator[Front]:
    """A running pod that an API server knows. No proxy yet."""
    places = random.Random()
    address = f"127.41.{places.randrange(1, 255)}.{places.randrange(1, 255)}"
    with contextlib.ExitStack() as stack:
        pod = stack.enter_context(upload_pod(folder, address=address, port=upload.PORT, **job))
        pod.start()
        write_objects(store, folder, address)
        session = stack.enter_context(requests.Session())
        session.trust_env = False
        yield Front(store, pod, session, stack)


def write_objects(store: Objects, folder: Path, address: str) -> None:
    """Keys, certificates, and a claim whose pod is ready."""
    store.create(NAMESPACE, builders.namespace(cdi.NAMESPACE))
    authorities.SigningKey().carry_out(store)
    authorities.Bundle(upload.SERVER_SIGNER, (folder / "servers.crt").read_bytes()).carry_out(store)
    client = Pem((folder / "client" / "tls.crt").read_bytes(), (folder / "client" / "tls.key").read_bytes())
    store.create(SECRET, uploader.secret({"name": upload.CLIENT_CERT, "namespace": cdi.NAMESPACE}, client))
    claim = builders.claim(CLAIM_NAME)
    claim["metadata"]["annotations"] = {cdi.UPLOAD_TARGET: "", cdi.POD_READY: "true"}
    store.create(CLAIM, claim)
    store.create(POD, builders.pod(upload.server_name(CLAIM_NAME)))
    store.patch(POD, Key(upload.server_name(CLAIM_NAME), "default"), {"status": {"podIP": address}}, "status")
