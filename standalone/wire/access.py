"""Access on the wire: who sends a request, whether they may, and the questions and tokens that they ask for."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Final

from aiohttp import web

from diskyard.api.meta import Kind, Obj
from diskyard.errors import ApiError, BadRequest
from diskyard.kube.reconcile import find
from diskyard.web import websocket
from diskyard.web.bridge import call
from standalone.access import reviews
from standalone.access.account import REQUEST
from standalone.access.door import Door
from standalone.access.question import question
from standalone.store.objects import Objects
from standalone.wire import body
from standalone.wire.answer import reply
from standalone.wire.asked import USER, Asked
from standalone.wire.catalogue import missing, not_allowed
from standalone.wire.crowd import Crowd
from standalone.wire.target import Target

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BODY_WITHIN: Final = 60.0
"""Seconds that a client gets to send its body."""


class Timeout(ApiError):
    """504: the client took too long to say what it wants."""

    code = 504
    reason = "Timeout"


def guarded(door: Door, crowd: Crowd) -> Any:
    """Lets requests in whose sender may do what they ask, once all of their body has come."""

    @web.middleware
    async def let_in(request: web.Request, handler: Handler) -> web.StreamResponse:
        headers = request.headers
        user = door.acting(door.user(headers), [*headers.items()])
        door.check(user, question(request.method, request.rel_url.raw_path, request.query))
        request[USER] = user
        with nullcontext() if _lasts(request) else crowd.joined(request.method):
            if request.body_exists:
                await _arrived(request)
            return await handler(request)

    return let_in


def review_kind(wanted: Target) -> Kind | None:
    """The kind of review that a path asks for; None: it is about something else. Raises NotFound."""
    for kind in reviews.KINDS:
        if (kind.group, kind.plural) == (wanted.group, wanted.plural):
            if wanted.version != kind.version or bool(wanted.namespace) != kind.namespaced:
                raise missing()
            return kind
    return None


async def review(door: Door, request: web.Request, kind: Kind, wanted: Target) -> web.StreamResponse:
    """The answer to a question. Raises MethodNotAllowed, BadRequest, Invalid."""
    if request.method != "POST" or wanted.name:
        raise not_allowed()
    asked = await _posted(request, kind)
    if wanted.namespace:
        asked = {**asked, "metadata": {**asked["metadata"], "namespace": wanted.namespace}}
    return reply(reviews.answered(door, request[USER], kind, asked), 201)


def check_making(door: Door, objects: Objects, asked: Asked) -> None:
    """Who applies what is not there makes it, and needs leave for that too. Raises Forbidden."""
    request, wanted = asked.request, asked.target
    if asked.applies and not asked.user.master and find(objects, asked.resource.kind, wanted.key) is None:
        said = question(request.method, request.rel_url.raw_path, request.query)
        door.check(asked.user, replace(said, verb="create"))


async def token(door: Door, asked: Asked) -> web.StreamResponse:
    """A token for a ServiceAccount. Raises NotFound, Invalid, BadRequest, Conflict."""
    request = await _posted(asked.request, REQUEST)
    return reply(await call(door.accounts.issue, asked.target.key, request), 201)


def _lasts(request: web.Request) -> bool:
    """Whether it stays open for as long as the client listens."""
    return body.flag(request, "watch") or body.flag(request, "follow") or websocket.wanted(request.headers)


async def _arrived(request: web.Request) -> None:
    try:
        async with asyncio.timeout(BODY_WITHIN):
            await request.read()
    except TimeoutError as error:
        raise Timeout(f"the body of the request did not arrive within {BODY_WITHIN:.0f} s") from error


async def _posted(request: web.Request, kind: Kind) -> Obj:
    came = await body.obj(request)
    for field, expected in (("apiVersion", kind.api_version), ("kind", kind.kind)):
        if came.get(field, expected) != expected:
            raise BadRequest(f"the {field} of the object ({str(came[field])[:100]}) is not {expected}")
    return came
