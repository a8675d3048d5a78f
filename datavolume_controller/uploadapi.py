"""UploadTokenRequest: a question that is answered with a token and not kept. Who may ask is decided before."""

import base64
from datetime import UTC, datetime

from diskyard.api import meta, token
from diskyard.api.meta import SECRET, Key, Obj
from diskyard.api.names import cdi, upload
from diskyard.api.token import Grant
from diskyard.errors import BadRequest, ServerError
from diskyard.kube.client import Client
from diskyard.kube.reconcile import find


def answered(client: Client, request: Obj, namespace: str) -> Obj:
    """The request with `status.token`. Whether the claim exists is not looked at. Raises BadRequest, ServerError."""
    claim = meta.spec(request).get("pvcName")
    if not isinstance(claim, str) or not claim:
        raise BadRequest("spec.pvcName: expected the name of a claim, found none")
    secret = find(client, SECRET, Key(upload.SIGNING_KEY, cdi.NAMESPACE))
    if secret is None:
        raise ServerError("the key for upload tokens is not made yet: try again in a moment")
    key = base64.b64decode((secret.get("data") or {}).get(upload.PRIVATE_KEY, ""))
    said = token.signed(Grant(token.UPLOAD, claim, namespace), key, datetime.now(UTC))
    metadata = {**meta.meta(request), "namespace": namespace, "creationTimestamp": None}
    return {**request, "metadata": metadata, "status": {"token": said}}
