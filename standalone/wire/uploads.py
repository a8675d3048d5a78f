"""`upload.cdi.kubevirt.io` on the wire: requests for tokens, which CDI's API server answers on a cluster."""

from typing import Final

from aiohttp import web

from datavolume_controller import uploadapi
from diskyard.api import meta
from diskyard.api.meta import UPLOAD_TOKEN
from diskyard.api.names import upload
from diskyard.errors import BadRequest
from diskyard.web.bridge import call
from standalone.store.objects import Objects
from standalone.wire import body
from standalone.wire.answer import reply
from standalone.wire.catalogue import missing, not_allowed
from standalone.wire.target import Target

TOKEN: Final = {
    "type": "object",
    "description": "Asks for a token that opens the upload proxy for one claim; answered at once, and not kept.",
    "properties": {
        "spec": {
            "type": "object",
            "description": "The claim that is uploaded into.",
            "properties": {"pvcName": {"type": "string", "description": "Its name."}},
            "required": ["pvcName"],
        },
        "status": {
            "type": "object",
            "description": "The answer.",
            "properties": {"token": {"type": "string", "description": "For `Authorization: Bearer`."}},
        },
    },
}
"""The schema of an UploadTokenRequest."""


def asked(wanted: Target) -> bool:
    """Whether a path leads here. Raises NotFound for one that leads nowhere."""
    if wanted.group != upload.GROUP:
        return False
    if wanted.plural != UPLOAD_TOKEN.plural or wanted.version not in upload.VERSIONS or wanted.subresource:
        raise missing()
    return True


async def token(objects: Objects, request: web.Request, wanted: Target) -> web.StreamResponse:
    """The answer to a request for a token. Raises BadRequest, ServerError."""
    if request.method == "GET" and wanted.name:
        raise missing()  # `kubectl apply` looks first, and makes what is not there
    if request.method != "POST" or wanted.name or not wanted.namespace:
        raise not_allowed()
    came = await body.obj(request)
    for field, expected in (("apiVersion", f"{upload.GROUP}/{wanted.version}"), ("kind", UPLOAD_TOKEN.kind)):
        if came.get(field, expected) != expected:
            raise BadRequest(f"the {field} of the object ({str(came[field])[:100]}) is not {expected}")
    if meta.namespace(came) not in ("", wanted.namespace):
        raise BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    said = {"apiVersion": f"{upload.GROUP}/{wanted.version}", "kind": UPLOAD_TOKEN.kind, **came}
    return reply(await call(uploadapi.answered, objects, said, wanted.namespace))
