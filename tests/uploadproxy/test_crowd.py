"""Many uploads at once through one proxy: none of them holds up the others, nor a small request."""

import base64
import hashlib
import random
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from aiohttp import web

from datavolume_controller import authorities, uploader
from diskyard.api import token
from diskyard.api.meta import CLAIM, NAMESPACE, POD, SECRET, Key
from diskyard.api.names import cdi, upload
from diskyard.api.token import Grant
from diskyard.web import issue, server, tls
from diskyard.web.issue import Life
from standalone.store.objects import Objects
from tests import builders
from tests.uploadproxy.images import MIB, noise
from tests.uploadproxy.pod import Stalled
from uploadproxy import proxy
from uploadproxy.limits import Limits
from uploadproxy.trust import Trust

MANY = 32
IMAGE = noise(5 * MIB)
NAMES = tuple(f"disk{number}" for number in range(MANY))


async def taken(request: web.Request) -> web.StreamResponse:
    digest = hashlib.sha256()
    async for chunk in request.content.iter_any():
        digest.update(chunk)
    return web.Response(text=digest.hexdigest())


@pytest.fixture
def url(store: Objects, tmp_path: Path) -> Iterator[str]:
    """A proxy, and 32 claims with one server for them all, which answers with the digest of what it gets."""
    places = random.Random()
    address = f"127.42.{places.randrange(1, 255)}.{places.randrange(1, 255)}"
    life = Life(datetime.now(UTC), timedelta(days=1))
    servers, clients = issue.authority("servers", life), issue.authority("clients", life)
    pair = tls.Pair(tmp_path / "tls.crt", tmp_path / "tls.key")
    tls.keep(pair, issue.server(servers, [upload.host(name, "default") for name in NAMES], life))
    store.create(NAMESPACE, builders.namespace(cdi.NAMESPACE))
    authorities.SigningKey().carry_out(store)
    authorities.Bundle(upload.SERVER_SIGNER, servers.certificate).carry_out(store)
    proof = issue.client(clients, upload.CLIENT_NAME, life)
    store.create(SECRET, uploader.secret({"name": upload.CLIENT_CERT, "namespace": cdi.NAMESPACE}, proof))
    for name in NAMES:
        write_claim(store, name, address)
    app = web.Application()
    app.router.add_post(f"/v1beta1/{upload.SYNC}", taken)
    app.router.add_get(upload.UPLOADS, taken)
    behind = server.start(
        app, server.Place(address, upload.PORT, trusting(pair, clients.certificate.decode()))
    )
    before = server.start(
        proxy.application(Trust(store), Limits(one_client=2 * MANY, idle=600.0)),
        server.Place("127.0.0.1", lends=True),
    )
    yield before.url
    before.stop()
    behind.stop()


def trusting(pair: tls.Pair, authority: str) -> ssl.SSLContext:
    context = tls.context(pair)
    context.load_verify_locations(cadata=authority)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def write_claim(store: Objects, name: str, address: str) -> None:
    claim = builders.claim(name)
    claim["metadata"]["annotations"] = {cdi.UPLOAD_TARGET: "", cdi.POD_READY: "true"}
    store.create(CLAIM, claim)
    store.create(POD, builders.pod(upload.server_name(name)))
    store.patch(POD, Key(upload.server_name(name), "default"), {"status": {"podIP": address}}, "status")


def bearer(store: Objects, name: str) -> dict[str, str]:
    entries = store.get(SECRET, Key(upload.SIGNING_KEY, cdi.NAMESPACE))["data"]
    key = base64.b64decode(entries[upload.PRIVATE_KEY])
    grant = Grant(token.UPLOAD, name, "default")
    return {"Authorization": f"Bearer {token.signed(grant, key, datetime.now(UTC), timedelta(minutes=5))}"}


class Sending(threading.Thread):
    """An upload that stops in its midst until it may go on."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        super().__init__()
        self.body = Stalled(IMAGE[: 3 * MIB], IMAGE[3 * MIB :])
        self.said = ""
        self._url = url
        self._headers = headers

    def run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(self._url, data=self.body, headers=self._headers, timeout=120)
            self.said = answer.text


def test_32_uploads_at_once_starve_nobody(store: Objects, url: str) -> None:
    uploads = [Sending(f"{url}/v1beta1/upload", bearer(store, name)) for name in NAMES]
    for each in uploads:
        each.start()
    assert all(each.body.sent.wait(120) for each in uploads)

    small = [
        requests.get(url + upload.UPLOADS, headers=bearer(store, name), timeout=60).status_code
        for name in NAMES
    ]
    for each in uploads:
        each.body.go.set()
    for each in uploads:
        each.join(120)

    assert small == [200] * MANY
    assert [each.said for each in uploads] == [hashlib.sha256(IMAGE).hexdigest()] * MANY
