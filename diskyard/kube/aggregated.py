"""Aggregated APIs: resources that an API server does not keep, but passes on to us with the name of who asks.

Whoever asks is believed only when a certificate of the API server's front proxy vouches for the connection; then the
server is asked whether that user may (Kubernetes: "Configure the Aggregation Layer").
"""

import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from aiohttp import web

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, Key, Kind, Obj
from diskyard.api.user import User
from diskyard.errors import ApiError, BadRequest, Unauthorized
from diskyard.kube.access import Access, May
from diskyard.kube.client import Client
from diskyard.web.bridge import call

SETTINGS: Final = Key("extension-apiserver-authentication", "kube-system")
LIMIT: Final = 1 << 20
"""Bytes of a request's body."""
_OK: Final = 200


@dataclass(frozen=True)
class FrontProxy:
    """Whose word on users counts, and in which headers it comes."""

    authority: str
    """PEM."""
    names: tuple[str, ...] = ()
    """Common names that may vouch; none: every one that the authority has signed."""
    user_headers: tuple[str, ...] = ("X-Remote-User",)
    group_headers: tuple[str, ...] = ("X-Remote-Group",)
    extra_prefixes: tuple[str, ...] = ("X-Remote-Extra-",)


def front_proxy(client: Client) -> FrontProxy | None:
    """As the API server publishes it; None: it aggregates nothing. Raises ApiError."""
    said: Mapping[str, str] = client.get(CONFIG_MAP, SETTINGS).get("data") or {}
    authority = said.get("requestheader-client-ca-file", "")
    if not authority:
        return None
    return FrontProxy(
        authority=authority,
        names=_listed(said, "requestheader-allowed-names"),
        user_headers=_listed(said, "requestheader-username-headers") or FrontProxy.user_headers,
        group_headers=_listed(said, "requestheader-group-headers") or FrontProxy.group_headers,
        extra_prefixes=_listed(said, "requestheader-extra-headers-prefix") or FrontProxy.extra_prefixes,
    )


def admit(context: ssl.SSLContext, proxy: FrontProxy) -> None:
    """Let clients of that context show a certificate of the front proxy; who shows none is let in as nobody."""
    context.load_verify_locations(cadata=proxy.authority)
    context.verify_mode = ssl.CERT_OPTIONAL


def asker(request: web.Request, proxy: FrontProxy) -> User:
    """Who asks, as the front proxy says. Raises Unauthorized."""
    shown: Mapping[str, Any] = (
        request.transport.get_extra_info("peercert") if request.transport else None
    ) or {}
    held = {text for part in shown.get("subject") or () for name, text in part if name == "commonName"}
    if not held or (proxy.names and not held & set(proxy.names)):
        raise Unauthorized("request is not authenticated")
    name = next((request.headers[each] for each in proxy.user_headers if request.headers.get(each)), "")
    if not name:
        raise Unauthorized("request is not authenticated")
    groups = [text for each in proxy.group_headers for text in request.headers.getall(each, ())]
    extra: dict[str, tuple[str, ...]] = {}
    for prefix in proxy.extra_prefixes:
        for header in request.headers:
            if header.lower().startswith(prefix.lower()):
                extra[header[len(prefix) :].lower()] = tuple(request.headers.getall(header))
    return User(name, tuple(groups), extra=extra)


@dataclass(frozen=True)
class Resource:
    """A resource that can only be created, and is answered instead of kept."""

    kind: Kind
    create: Callable[[User, Key, Obj], Obj]
    """(who, namespace and name, what was sent) -> the answer. Blocks; raises ApiError."""


def serve(
    app: web.Application, resources: Sequence[Resource], proxy: Callable[[], FrontProxy | None], may: May
) -> None:
    """Add the resources' paths, and what tells clients of them. Of a group's versions the first is preferred."""
    groups: dict[str, dict[str, list[Kind]]] = {}
    for each in resources:
        groups.setdefault(each.kind.group, {}).setdefault(each.kind.version, []).append(each.kind)
    listed = [_group(group, list(versions)) for group, versions in sorted(groups.items())]
    app.router.add_get("/apis", _answers({"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}))
    for group, versions in groups.items():
        app.router.add_get(f"/apis/{group}", _answers(_group(group, list(versions))))
        for version, held in versions.items():
            app.router.add_get(f"/apis/{group}/{version}", _answers(_listing(f"{group}/{version}", held)))
    for each in resources:
        path = f"/apis/{each.kind.group}/{each.kind.version}/namespaces/{{namespace}}/{each.kind.plural}"
        app.router.add_post(path, _creation(each, proxy, may))


def _creation(
    resource: Resource, proxy: Callable[[], FrontProxy | None], may: May
) -> Callable[[web.Request], Any]:
    async def answer(request: web.Request) -> web.Response:
        try:
            said = await call(_created, resource, _trusted(request, proxy()), may, await _sent(request))
        except ApiError as error:
            return _json(error.status(), error.code)
        return _json(said, _OK)

    return answer


def _trusted(request: web.Request, proxy: FrontProxy | None) -> tuple[User, str]:
    if proxy is None:
        raise Unauthorized("request is not authenticated")
    return asker(request, proxy), request.match_info["namespace"]


def _created(resource: Resource, asked: tuple[User, str], may: May, sent: Obj) -> Obj:
    user, namespace = asked
    kind = resource.kind
    if not may(user, Access("create", kind.group, kind.plural, namespace)):
        raise Unauthorized(
            f'User "{user.name}" cannot create resource "{kind.plural}" in API group "{kind.group}" in the namespace '
            f'"{namespace}"'
        )
    return resource.create(user, Key(meta.name(sent), namespace), sent)


async def _sent(request: web.Request) -> Obj:
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > LIMIT:
            raise BadRequest(f"a body of more than {LIMIT} bytes")
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadRequest("the body is not an object")
    return found


def _group(group: str, versions: Sequence[str]) -> Obj:
    served = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": group,
        "versions": served,
        "preferredVersion": served[0],
    }


def _listing(api_version: str, kinds: Sequence[Kind]) -> Obj:
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": api_version,
        "resources": [
            {
                "name": kind.plural,
                "singularName": kind.singular,
                "namespaced": True,
                "kind": kind.kind,
                "verbs": ["create"],
                **({"shortNames": list(kind.short)} if kind.short else {}),
            }
            for kind in kinds
        ],
    }


def _answers(said: Obj) -> Callable[[web.Request], Any]:
    async def answer(_: web.Request) -> web.Response:
        return _json(said, _OK)

    return answer


def _json(said: Obj, code: int) -> web.Response:
    return web.Response(
        body=orjson.dumps(said),
        status=code,
        content_type="application/json",
        headers={"X-Content-Type-Options": "nosniff"},
    )


def _listed(said: Mapping[str, str], name: str) -> tuple[str, ...]:
    try:
        found = orjson.loads(said.get(name) or "[]")
    except orjson.JSONDecodeError:
        return ()
    return tuple(str(each) for each in found) if isinstance(found, list) else ()
