"""The embedded API server's wire: Kubernetes' paths, each led to the store. Decides nothing itself."""

import platform
from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import web

from diskyard import VERSION, linux
from diskyard.api.meta import Obj
from diskyard.errors import ApiError, BadRequest
from diskyard.log import logger
from diskyard.web.bridge import call
from standalone.access.door import Door
from standalone.store import binding
from standalone.store.objects import Objects
from standalone.store.scale import SUBRESOURCE
from standalone.wire import access, body, discovery, gnostic, health, issuer, openapi, uploads
from standalone.wire.answer import form, refusal, reply, warn
from standalone.wire.asked import Asked
from standalone.wire.catalogue import Catalogues, missing, not_allowed
from standalone.wire.crowd import MOST, Crowd, Most
from standalone.wire.doors import Doors, Guests
from standalone.wire.logs import Logs, LogStreams
from standalone.wire.target import target
from standalone.wire.verbs import Verbs
from standalone.wire.watches import Watches

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_OTHERS = (*health.PATHS, "/metrics", "/openapi/v2", "/openapi/v3", *issuer.PATHS, "/version")
_KUBERNETES = ("1", "33")
"""The version of Kubernetes' API that we speak; kubectl compares it with its own, and warns when two lie between."""

_SWITCHED = 101
_WARNING = web.RequestKey("warning", str)

log = logger("wire")


def application(
    objects: Objects, logs: Logs, door: Door, guests: Guests | None = None, most: Most = MOST
) -> web.Application:
    """The API server over that store, for whoever comes through the door; `guests` are those that run here."""
    server = _Server(objects, logs, door, most)
    if guests:
        server.doors = Doors(objects, lambda _: guests)
    guarded = access.guarded(door, Crowd(most))
    app = web.Application(middlewares=[_errors, guarded], client_max_size=body.BODY_LIMIT)
    health.add_routes(app.router, objects)
    issuer.add_routes(app.router, door.accounts)
    for end in ("", "/"):  # clients that are made from the older description ask with a slash
        app.router.add_get("/version" + end, server.version)
        app.router.add_get("/api" + end, server.core)
        app.router.add_get("/apis" + end, server.groups)
        app.router.add_get("/api/{version}" + end, server.resources)
        app.router.add_get("/apis/{group}" + end, server.group)
        app.router.add_get("/apis/{group}/{version}" + end, server.resources)
    app.router.add_get("/openapi/v2", server.swagger)
    app.router.add_get("/openapi/v3", server.documents)
    app.router.add_get("/openapi/v3/api/{version}", server.document)
    app.router.add_get("/openapi/v3/apis/{group}/{version}", server.document)
    app.router.add_get("/", server.paths)
    app.router.add_route("*", "/api/{version}/{rest:.+}", server.resource)
    app.router.add_route("*", "/apis/{group}/{version}/{rest:.+}", server.resource)
    app.on_response_prepare.append(_marked)
    app.on_shutdown.append(server.close)
    return app


class _Server:
    def __init__(self, objects: Objects, logs: Logs, door: Door, most: Most) -> None:
        self._catalogues = Catalogues(objects)
        self._documents = openapi.Documents(self._catalogues.now())
        self._verbs = Verbs(objects)
        self._watches = Watches(objects, most.unread)
        self._logs = LogStreams(objects, logs, most.paused)
        self._objects = objects
        self._door = door
        self.doors: Doors | None = None

    async def close(self, _: web.Application) -> None:
        self._watches.close()
        self._logs.close()

    async def version(self, _: web.Request) -> web.StreamResponse:
        return reply(_version())

    async def paths(self, _: web.Request) -> web.StreamResponse:
        served = self._catalogues.now().versions()
        groups = [f"/apis/{group}/{version}" for group, vs in served.items() if group for version in vs]
        return reply(
            {
                "paths": [
                    "/api",
                    "/api/v1",
                    "/apis",
                    *groups,
                    *_OTHERS,
                ]
            }
        )

    async def core(self, request: web.Request) -> web.StreamResponse:
        return self._all(request, core=True) or reply(discovery.versions(request.host))

    async def groups(self, request: web.Request) -> web.StreamResponse:
        return self._all(request, core=False) or reply(discovery.groups(self._catalogues.now()))

    def _all(self, request: web.Request, *, core: bool) -> web.Response | None:
        for wanted in request.headers.get("Accept", "").split(","):
            if discovery.AGGREGATED not in wanted:
                continue
            version = "v2" if "v=v2;" in wanted.replace(" ", "") + ";" else "v2beta1"
            found = reply(discovery.aggregated(self._catalogues.now(), version, core=core))
            found.headers["Content-Type"] = (
                f"application/json;g=apidiscovery.k8s.io;v={version};{discovery.AGGREGATED}"
            )
            return found
        return None

    async def group(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["group"]
        found = discovery.groups(self._catalogues.now())["groups"]
        for one in found:
            if one["name"] == name:
                return reply(one)
        raise missing()

    async def resources(self, request: web.Request) -> web.StreamResponse:
        name, version = request.match_info.get("group", ""), request.match_info["version"]
        catalogue = self._catalogues.now()
        found = discovery.resources(catalogue, name, version)
        if found is None:
            raise catalogue.absent(name, version)
        return reply(found)

    async def swagger(self, request: web.Request) -> web.StreamResponse:
        accept = request.headers.get("Accept", "")
        if gnostic.MEDIA_TYPES[0] in accept:
            packed = await call(lambda: self._described().packed)
            return web.Response(body=packed, headers={"Content-Type": gnostic.MEDIA_TYPES[1]})
        form(accept)
        return reply(await call(lambda: self._described().swagger))

    async def documents(self, _: web.Request) -> web.StreamResponse:
        return reply(await call(lambda: self._described().index))

    async def document(self, request: web.Request) -> web.StreamResponse:
        described = self._described()
        group, version = request.match_info.get("group", ""), request.match_info["version"]
        if not described.has(group, version):
            raise described.catalogue.absent(group, version)
        return reply(await call(described.document, group, version))

    def _described(self) -> openapi.Documents:
        catalogue = self._catalogues.now()
        if self._documents.catalogue is not catalogue:
            self._documents = openapi.Documents(catalogue)
        return self._documents

    async def resource(self, request: web.Request) -> web.StreamResponse:
        wanted = target(request.rel_url.raw_path)
        if wanted is None:
            raise missing()
        if kind := access.review_kind(wanted):
            return await access.review(self._door, request, kind, wanted)
        if self.doors and self.doors.asked(wanted):
            return await self.doors.answer(request, wanted)
        if uploads.asked(wanted):
            return await uploads.token(self._objects, request, wanted)
        asked = Asked(request, self._catalogues.now().find(wanted), wanted)
        request[_WARNING] = asked.resource.warning
        access.check_making(self._door, self._objects, asked)
        return await self._verb(asked)(asked)

    def _verb(self, asked: Asked) -> Callable[[Asked], Awaitable[web.StreamResponse]]:
        """What the method means: on a collection, on an object, on a subresource. Raises MethodNotAllowed."""
        verbs, wanted = self._verbs, asked.target
        watching = body.flag(asked.request, "watch")
        known: dict[str, Callable[[Asked], Awaitable[web.StreamResponse]]]
        if wanted.subresource == "log":
            known = {"GET": self._logs.get}
        elif wanted.subresource == SUBRESOURCE:
            known = {"GET": verbs.scale, "PUT": verbs.scale, "PATCH": verbs.scale}
        elif wanted.subresource == "token":
            known = {"POST": partial(access.token, self._door)}
        elif wanted.subresource == binding.SUBRESOURCE:
            known = {"POST": verbs.post}
        elif wanted.subresource:
            known = {"GET": verbs.get, "PUT": verbs.update, "PATCH": verbs.patch}
        elif wanted.name:
            read = self._watches.watch if watching else verbs.get
            known = {"GET": read, "PUT": verbs.update, "PATCH": verbs.patch, "DELETE": verbs.delete}
        else:
            read = self._watches.watch if watching else verbs.list
            known = {"GET": read, "POST": verbs.create}
            if "deletecollection" in asked.resource.verbs:
                known["DELETE"] = verbs.delete_collection
        found = known.get(asked.request.method)
        if found is None:
            raise not_allowed()
        return found


async def _marked(request: web.Request, answer: web.StreamResponse) -> None:
    """No answer is to be kept by a proxy; a version that is on its way out says so in every one; nor is a connection
    kept whose request has not come in full."""
    answer.headers.setdefault("Cache-Control", "no-cache, private")
    if text := request.get(_WARNING):
        warn(answer, text)
    if request.body_exists and not request.content.is_eof() and answer.status != _SWITCHED:
        # aiohttp may give up waiting for the rest: who sends the next request meanwhile must not be left without answer
        answer.headers["Connection"] = "close"
        answer.force_close()


def _version() -> Obj:
    """Every field that a real server has, as clients expect them all; of those about Go, what is true here."""
    major, minor = _KUBERNETES
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{major}.{minor}.0+diskyard-{VERSION}",
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": platform.python_implementation().lower(),
        "platform": f"linux/{linux.architecture()}",
    }


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure as a Status."""
    try:
        return await handler(request)
    except ApiError as error:
        return refusal(error)
    except web.RequestPayloadError as error:
        request.content.feed_eof()  # or aiohttp reads on, and fails of it again, after the answer
        answer = refusal(BadRequest(f"the body of the request cannot be read: {error}"))
        answer.force_close()
        return answer
    except web.HTTPRequestEntityTooLarge:
        return refusal(TooLarge(f"Request entity too large: limit is {body.BODY_LIMIT}"))
    except web.HTTPNotFound:
        return refusal(missing())
    except web.HTTPMethodNotAllowed:
        return refusal(not_allowed())


class TooLarge(ApiError):
    """413: the body has more bytes than we read."""

    code = 413
    reason = "RequestEntityTooLarge"
