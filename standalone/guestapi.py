"""`subresources.kubevirt.io` behind a real API server: what virtctl does to guests, where KubeVirt has its virt-api.

The API server passes on who asks; it is asked whether they may; orders and streams go to the node of the guest, by way
of the API server where that is another one.
"""

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Final

from aiohttp import web

from diskyard import log
from diskyard.api import meta
from diskyard.api.meta import API_SERVICE, ENDPOINT_SLICE, SERVICE, Key, Obj
from diskyard.api.names import kubernetes, kubevirt
from diskyard.errors import ApiError, DiskyardError, InvalidRequest
from diskyard.kube import access, aggregated
from diskyard.kube.access import Access, May
from diskyard.kube.aggregated import FrontProxy
from diskyard.kube.certificates import Certificates
from diskyard.kube.certificates import Place as Kept
from diskyard.kube.client import Client
from diskyard.kube.reconcile import Create, Merge, find
from diskyard.web import server
from diskyard.web.bridge import call
from standalone.access.question import forbidden, question
from standalone.wire import discovery
from standalone.wire.answer import refusal, reply
from standalone.wire.catalogue import missing
from standalone.wire.doors import Doors, Ways
from standalone.wire.target import target

PORT: Final = 8186
"""As virt-handler has for consoles."""
NAME: Final = "virt-api"
"""Of the Service and of what belongs to it, as with KubeVirt."""
KEY: Final = Key(NAME, kubevirt.NAMESPACE)
NAMES: Final = (f"{NAME}.{kubevirt.NAMESPACE}.svc", f"{NAME}.{kubevirt.NAMESPACE}.svc.cluster.local", NAME)
TRUSTING: Final = tuple((API_SERVICE, f"{version}.{kubevirt.DOORS}") for version in kubevirt.DOOR_VERSIONS)
"""What the API server knows us by."""
AGAIN: Final = 10.0
"""Seconds until what could not be begun is tried again."""

Say = Callable[[str], None]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_log = log.logger("guestapi")


@dataclass(frozen=True)
class Post:
    """Where it listens."""

    address: str
    port: int = PORT


class GuestApi(AbstractContextManager["GuestApi"]):
    """Serves from the first `attend` that succeeds until it is left. Not for several threads."""

    def __init__(self, client: Client, ways: Ways, post: Post, say: Say) -> None:
        self._client = client
        self._doors = Doors(client, ways)
        self._post = post
        self._say = say
        self._stack = ExitStack()
        self._serving = False
        self._next = 0.0
        self._said = ""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._serving = False
        self._stack.close()

    def attend(self) -> None:
        """Begin to serve, unless we do; what is in the way is said once, and tried again later."""
        if self._serving or time.monotonic() < self._next:
            return
        try:
            with ExitStack() as stack:
                url = self._begin(stack)
                self._stack = stack.pop_all()
        except (DiskyardError, ApiError) as error:
            self._next = time.monotonic() + AGAIN
            self._tell(f"guests are not served to virtctl yet: {error}")
        else:
            self._serving = True
            self._tell(f"guests are served to virtctl at {url}")

    def _tell(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            self._say(sentence)

    def _begin(self, stack: ExitStack) -> str:
        proxy = aggregated.front_proxy(self._client)
        if proxy is None:
            raise InvalidRequest(
                f"{aggregated.SETTINGS} names no front proxy: start the API server with --requestheader-client-ca-file"
            )
        kept = Kept(kubevirt.NAMESPACE, NAME)
        certificates = Certificates(self._client, kept, (*NAMES, self._post.address), TRUSTING)
        stack.callback(certificates.close)
        context = certificates.start()
        aggregated.admit(context, proxy)
        app = application(self._doors, proxy, access.asked_of(self._client))
        running = server.start(app, server.Place(self._post.address, self._post.port, context))
        stack.callback(running.stop)
        publish(self._client, self._post.address, running.port)
        return running.url


def application(doors: Doors, proxy: FrontProxy, may: May) -> web.Application:
    """The aggregated API: discovery for the front proxy, everything else for who may."""

    async def group(_: web.Request) -> web.StreamResponse:
        return reply(discovery.group(kubevirt.DOORS, kubevirt.DOOR_VERSIONS))

    async def groups(_: web.Request) -> web.StreamResponse:
        known = [discovery.group(kubevirt.DOORS, kubevirt.DOOR_VERSIONS)]
        return reply({"kind": "APIGroupList", "apiVersion": "v1", "groups": known})

    async def resources(request: web.Request) -> web.StreamResponse:
        version = request.match_info["version"]
        if version not in kubevirt.DOOR_VERSIONS:
            raise missing()
        spoken = f"{kubevirt.DOORS}/{version}"
        listed = discovery.doors(kubevirt.DOORS, version)
        return reply(
            {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": spoken, "resources": listed}
        )

    async def door(request: web.Request) -> web.StreamResponse:
        await call(_check, request, proxy, may)
        wanted = target(request.rel_url.raw_path)
        if wanted is None or not doors.asked(wanted):
            raise missing()
        return await doors.answer(request, wanted)

    app = web.Application(middlewares=[_worded], client_max_size=aggregated.LIMIT)
    app.router.add_get("/healthz", _alive)
    app.router.add_get("/apis", groups)
    app.router.add_get(f"/apis/{kubevirt.DOORS}", group)
    app.router.add_get(f"/apis/{kubevirt.DOORS}/{{version}}", resources)
    app.router.add_route("*", f"/apis/{kubevirt.DOORS}/{{version}}/{{rest:.+}}", door)
    return app


def publish(client: Client, address: str, port: int) -> None:
    """Lead the Service here, where it leads nowhere by itself: an ExternalName does. Raises ApiError."""
    service = find(client, SERVICE, KEY)
    spec = meta.spec(service or {})
    if service is None or spec.get("type") == "ExternalName" or spec.get("selector"):
        return
    if ip_address(address).is_loopback:
        _log.warning("a Service cannot lead to a loopback address", service=KEY, address=address)
        return
    fields: Obj = {
        "addressType": f"IPv{ip_address(address).version}",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"name": "", "port": port, "protocol": "TCP"}],
    }
    there = find(client, ENDPOINT_SLICE, KEY)
    if there is None:
        labels = {kubernetes.SERVICE_NAME: NAME, kubernetes.SLICE_MANAGED_BY: "diskyard"}
        metadata = {
            "name": NAME,
            "namespace": KEY.namespace,
            "labels": labels,
            "ownerReferences": [meta.owner_reference(SERVICE, service)],
        }
        named = {"apiVersion": ENDPOINT_SLICE.api_version, "kind": ENDPOINT_SLICE.kind}
        Create(ENDPOINT_SLICE, {**named, "metadata": metadata, **fields}).carry_out(client)
    elif any(there.get(field) != value for field, value in fields.items()):
        Merge(ENDPOINT_SLICE, KEY, fields).carry_out(client)


def _check(request: web.Request, proxy: FrontProxy, may: May) -> None:
    """Let who may do it pass. Raises Unauthorized, Forbidden."""
    user = aggregated.asker(request, proxy)
    asked = question(request.method, request.rel_url.raw_path, request.query)
    wish = Access(asked.verb, asked.group, asked.resource, asked.namespace, asked.name, asked.subresource)
    if not may(user, wish):
        raise forbidden(user, asked)


async def _alive(_: web.Request) -> web.StreamResponse:
    return web.Response(text="ok")


@web.middleware
async def _worded(request: web.Request, handler: Handler) -> Any:
    """Every failure as a Status."""
    try:
        return await handler(request)
    except ApiError as error:
        return refusal(error)
    except web.HTTPNotFound:
        return refusal(missing())
