"""The program on a cluster: serves webhooks, health and metrics; and while it leads, runs the controllers."""

import ssl
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final

from aiohttp import web

from datavolume_controller import admission, metrics, reconcilers, uploadapi
from datavolume_controller.progress import Scraper
from diskyard import ending, log
from diskyard.api.config import config
from diskyard.api.meta import (
    API_SERVICE,
    CDI_CONFIG,
    CSI_DRIVER,
    MUTATING_WEBHOOKS,
    STORAGE_CLASS,
    STORAGE_PROFILE,
    UPLOAD_TOKEN,
    VALIDATING_WEBHOOKS,
    VOLUME,
    Key,
    Kind,
    Obj,
)
from diskyard.api.names import upload
from diskyard.errors import ApiError, Forbidden, NotFound
from diskyard.kube import access, aggregated, webhook
from diskyard.kube.aggregated import Resource
from diskyard.kube.cache import Cache, CachedClient
from diskyard.kube.certificates import Certificates, Place
from diskyard.kube.client import Client
from diskyard.kube.controller import Controllers
from diskyard.kube.figures import Counted, Figures
from diskyard.kube.guard import Guard
from diskyard.kube.leader import TERMS, Leader, Terms
from diskyard.web import issue, server, tls
from diskyard.web.bridge import call
from diskyard.web.issue import Life

LEASE: Final = "cdi-controller-leader-election-helper"
SERVICE: Final = "cdi-api"
CERTIFICATES: Final = "cdi-apiserver"
VALIDATING: Final = (
    "cdi-api-datavolume-validate", "cdi-api-validate", "cdi-api-populator-validate", "cdi-api-dataimportcron-validate",
    "objecttransfer-api-validate",
)  # fmt: skip
MUTATING: Final = ("cdi-api-datavolume-mutate", "cdi-api-pvc-mutate")
TOKENS: Final = tuple(f"{version}.{upload.GROUP}" for version in upload.VERSIONS)
TRUSTING: Final = (
    *((VALIDATING_WEBHOOKS, name) for name in VALIDATING),
    *((MUTATING_WEBHOOKS, name) for name in MUTATING),
    *((API_SERVICE, name) for name in TOKENS),
)
"""What the API server calls us by."""
CONTROLLERS: Final = "controllers"
ADMISSION: Final = "admission"
ALL: Final = "all"
_SELF_SIGNED: Final = timedelta(days=365)

_log = log.logger("program")


@dataclass(frozen=True)
class Settings:
    """How one replica runs."""

    namespace: str
    identity: str
    part: str = ALL
    elect: bool = True
    host: str = "0.0.0.0"
    port: int = 8443
    hosts: tuple[str, ...] = ()
    """Names and addresses that webhooks are called at, besides the Service's."""
    workers: int = 16
    drain: float = 0.0
    """Seconds to serve on when told to stop: until nobody calls any more."""
    terms: Terms = TERMS

    @property
    def names(self) -> tuple[str, ...]:
        """What the certificate is for."""
        service = f"{SERVICE}.{self.namespace}.svc"
        return (service, f"{service}.cluster.local", SERVICE, *self.hosts)


class Program(AbstractContextManager["Program"]):
    """One replica, from `open` until closed. `run` returns when it is told to stop, or lost its lease."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self.figures = Figures()
        self.url = ""
        self._client = client
        self._guard = Guard(Counted(client, self.figures))
        self._settings = settings
        self._stack = ExitStack()

    def __enter__(self) -> "Program":
        with ExitStack() as stack:
            self._stack = stack
            self._serve()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, stop: threading.Event) -> bool:
        """Work until `stop` is set; False: another replica leads now."""
        if self._settings.part == ADMISSION:
            ending.until(stop)
            time.sleep(self._settings.drain)
            return True
        if not self._settings.elect:
            self._work(stop)
            return True
        lease = Key(LEASE, self._settings.namespace)
        identity, terms = self._settings.identity, self._settings.terms
        leader = Leader(self._client, lease, identity, terms, on_lost=stop.set)
        if not leader.acquire(stop):
            return True
        self._work(stop)
        leader.close()
        return not leader.lost.is_set()

    def _work(self, stop: threading.Event) -> None:
        with Scraper() as scraper:
            workers = self._settings.workers
            controllers = Controllers(self._client, reconcilers(scraper), workers, self.figures)
            objects = metrics.Objects(controllers.client)
            controllers.start()
            self.figures.leading.set(1)
            self.figures.registry.register(objects)
            try:
                ending.until(stop)
            finally:
                self.figures.leading.set(0)
                self.figures.registry.unregister(objects)
                controllers.stop()

    def _serve(self) -> None:
        app = web.Application()
        app.router.add_get("/healthz", _healthy)
        app.router.add_get("/readyz", _healthy)
        app.router.add_get("/metrics", self._metrics)
        context = self._admit(app) if self._settings.part != CONTROLLERS else _own()
        running = server.start(app, server.Place(self._settings.host, self._settings.port, context))
        self._stack.callback(running.stop)
        self.url = running.url
        _log.info("serving", url=running.url, part=self._settings.part)

    def _admit(self, app: web.Application) -> ssl.SSLContext:
        counted = Counted(self._client, self.figures)
        place = Place(self._settings.namespace, CERTIFICATES)
        certificates = Certificates(counted, place, self._settings.names, TRUSTING)
        self._stack.callback(certificates.close)
        context = certificates.start()
        kinds = (CDI_CONFIG, CSI_DRIVER, STORAGE_CLASS, STORAGE_PROFILE, VOLUME)
        cache = Cache(counted, kinds, partial(_hardened, context))
        cache.start()
        self._stack.callback(cache.stop)
        judges = admission.routes(CachedClient(counted, cache), access.asked_of(counted))
        for path, judge in judges.items():
            app.router.add_post(path, webhook.handler(judge))
        self._give_tokens(app, counted, context)
        return context

    def _give_tokens(self, app: web.Application, client: Client, context: ssl.SSLContext) -> None:
        """Answer UploadTokenRequests, where the API server passes them on."""
        try:
            proxy = aggregated.front_proxy(client)
        except (NotFound, Forbidden) as error:
            _log.warning("no upload tokens here", error=error)
            return
        if proxy is not None:
            aggregated.admit(context, proxy)
        tokens = [
            Resource(kind, lambda _, key, sent: uploadapi.answered(client, sent, key.namespace))
            for kind in (replace(UPLOAD_TOKEN, version=version) for version in upload.VERSIONS)
        ]
        aggregated.serve(app, tokens, lambda: proxy, access.asked_of(client))

    async def _metrics(self, request: web.Request) -> web.Response:
        """For those who may: it names classes, and tells what goes on."""
        try:
            await call(self._guard.admit, request.headers.get("Authorization", ""), request.path)
        except ApiError as error:
            return web.json_response(error.status(), status=error.code)
        return web.Response(body=await call(self.figures.text), content_type="text/plain", charset="utf-8")


def _hardened(context: ssl.SSLContext, kind: Kind, objects: Sequence[Obj]) -> None:
    """Have our own TLS be what the CDIConfig says: as it is, not as it was before."""
    if kind == CDI_CONFIG:
        tls.harden(context, config(objects[0]).tls)


async def _healthy(_: web.Request) -> web.Response:
    return web.Response(text="ok")


def _own() -> ssl.SSLContext:
    """For health and metrics alone: it proves nothing, it hides."""
    life = Life(datetime.now(UTC), _SELF_SIGNED)
    pem = issue.server(issue.authority("cdi-deployment", life), ["localhost"], life)
    with tempfile.TemporaryDirectory(prefix="diskyard-") as folder:
        pair = tls.Pair(Path(folder) / "tls.crt", Path(folder) / "tls.key")
        tls.keep(pair, pem)
        return tls.context(pair)
