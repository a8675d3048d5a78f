"""The yard's upload proxy: at an address of its own, on the port of all uploads, where that can be had."""

import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from ssl import SSLContext
from typing import Final

from aiohttp import web

from datavolume_controller import authorities
from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, SECRET, SERVICE, Key, Obj
from diskyard.api.names import cdi, upload
from diskyard.errors import AlreadyExists, Busy, InvalidRequest
from diskyard.kube.client import Client
from diskyard.kube.reconcile import find
from diskyard.web import server, tls
from diskyard.web.server import Running
from pages import guests
from pages import server as pages
from standalone.reach import LOOPBACK, Published, Reach, publish
from uploadproxy import proxy
from uploadproxy.limits import Limits
from uploadproxy.trust import Trust, harden

KEY: Final = Key(upload.PROXY, cdi.NAMESPACE)
PORT: Final = 443
ADDRESSES: Final = tuple(f"127.32.0.{number}" for number in range(10, 18))
"""Loopback addresses of which one becomes the Service's: several yards on one machine each find one."""
NAMES: Final = tuple(f"{upload.PROXY}{rest}" for rest in ("", f".{cdi.NAMESPACE}", f".{cdi.NAMESPACE}.svc"))

Further = Callable[[web.UrlDispatcher], None]
"""What is served beside uploads."""


def start(
    client: Client, pki: Path, authority: tls.Pair, reach: Reach, ways: guests.Guests
) -> tuple[Running, str]:
    """Serve, and tell everybody where; with the link to the page. Raises Busy, InvalidRequest."""
    places = tuple(_places(find(client, SERVICE, KEY)))
    names = dict.fromkeys((*reach.names, *(host for host, _ in places), *NAMES))
    pair = tls.server(authority, pki / upload.PROXY, tuple(names), datetime.now(UTC))
    codes = pages.Codes()

    def further(router: web.UrlDispatcher) -> None:
        pages.add_routes(router, client, codes)
        guests.add_routes(router, client, ways)

    running = _listening(client, tls.context(pair), places, reach, further)
    _trusted(client, authority.certificate.read_text())
    host = reach.address or running.host
    where = running.at(host).removesuffix(f":{PORT}")
    found = Published(
        KEY, running.port, running.host, {cdi.COMPONENT_LABEL: upload.PROXY}, {upload.PROXY_URL: where}
    )
    publish(client, found, reach)
    if find(client, SECRET, Key(upload.SIGNING_KEY, cdi.NAMESPACE)) is None:
        authorities.SigningKey().carry_out(client)
    return running, pages.link(codes, where)


def _listening(
    client: Client, context: SSLContext, places: Iterable[tuple[str, int]], reach: Reach, further: Further
) -> Running:
    """At the first place that can be had; the last is any free port."""
    refusal: Exception | None = None
    for host, port in places:
        try:
            app = proxy.application(Trust(client), Limits.from_env(os.environ))
            further(app.router)
            upkeep = partial(harden, client, context)
            place = server.Place(host, port, context, reach.further, lends=True, upkeep=upkeep)
            return server.start(app, place)
        except (Busy, InvalidRequest) as error:
            refusal = error
    raise refusal or Busy("no address for the upload proxy")


def _places(before: Obj | None) -> Iterator[tuple[str, int]]:
    """Where it was, where it should be, where it can be."""
    spec = meta.spec(before or {})
    if spec.get("clusterIP") and spec.get("ports"):
        yield str(spec["clusterIP"]), int(spec["ports"][0]["port"])
    yield from ((address, PORT) for address in ADDRESSES)
    yield LOOPBACK, 0


def _trusted(client: Client, certificate: str) -> None:
    """Whom to trust: the yard's own authority."""
    key = Key(upload.PROXY_SIGNER + upload.BUNDLE, cdi.NAMESPACE)
    content = {"data": {upload.BUNDLE_KEY: certificate}}
    metadata = {"name": key.name, "namespace": key.namespace}
    made = {"apiVersion": CONFIG_MAP.api_version, "kind": CONFIG_MAP.kind, "metadata": metadata}
    try:
        client.create(CONFIG_MAP, {**made, **content})
    except AlreadyExists:
        client.patch(CONFIG_MAP, key, content)
