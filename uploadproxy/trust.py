"""What the proxy needs of the API server: who may upload where, and the certificates for both of its ends."""

import base64
import ssl
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from diskyard.api import meta, token
from diskyard.api import pod as pods
from diskyard.api.config import config
from diskyard.api.meta import CDI_CONFIG, CLAIM, CONFIG_MAP, POD, SECRET, Key, Obj
from diskyard.api.names import cdi, upload
from diskyard.api.token import Grant
from diskyard.errors import ApiError, NotFound, Passing, SourceUnavailable
from diskyard.kube.client import Client
from diskyard.kube.reconcile import find
from diskyard.log import logger
from diskyard.web import tls

_log = logger("uploadproxy")

_KEPT: Final = 30.0
"""Seconds after which certificates are read again: they are renewed."""


class NotReady(Passing):
    """There is no server (yet) that takes this upload in; CDI's own words."""

    reason = "NotReady"


class Finished(NotReady):
    """An upload has filled the claim already."""

    reason = "Finished"


@dataclass(frozen=True)
class Server:
    """Where a claim's upload goes."""

    address: str
    host: str
    """The name in its certificate."""
    archive: bool
    context: ssl.SSLContext
    """TLS towards it: ours for it, its for us."""


def harden(client: Client, context: ssl.SSLContext) -> None:
    """Have a server's TLS be what the CDIConfig says; left as it is while nobody can be asked."""
    try:
        found = find(client, CDI_CONFIG, Key(cdi.CONFIG_NAME)) or {}
    except ApiError as error:
        _log.warning("CDIConfig cannot be read: TLS stays as it is", error=str(error))
        return
    tls.harden(context, config(found).tls)


class Trust:
    """Answers from the API server; certificates are kept for a while."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._read = float("-inf")
        self._key = b""
        self._context: ssl.SSLContext | None = None

    def grant(self, text: str) -> Grant:
        """What a token says. Raises Unauthorized, SourceUnavailable."""
        self._refresh()
        return token.verified(text, self._key)

    def server(self, grant: Grant) -> Server:
        """The server of the claim that a token is for. Raises NotReady, Finished, SourceUnavailable."""
        obj = self._claim(grant.name, grant.namespace)
        prime = meta.annotations(obj).get(cdi.PRIME)
        if prime:
            obj = self._prime(prime, grant.namespace)
        name, said = grant.name, meta.annotations(obj)
        if cdi.UPLOAD_TARGET not in said:
            raise NotReady(f"PVC {name} is not an upload target")
        if said.get(cdi.POD_PHASE) == "Succeeded":
            raise Finished(f"rejecting Upload Request for PVC {name} that already finished uploading")
        content = said.get(cdi.CONTENT_TYPE, "") or "kubevirt"
        if content not in ("kubevirt", "archive"):
            raise NotReady(
                f"rejecting upload request for PVC {name} - upload content-type {content} is invalid"
            )
        claim = meta.name(obj)
        pod = find(
            self._client, POD, Key(said.get(upload.POD_NAME) or upload.server_name(claim), grant.namespace)
        )
        address = pods.facts(pod).ip if pod else ""
        if said.get(cdi.POD_READY) != "true" or not address:
            raise NotReady(_waiting(name, said))
        self._refresh()
        if self._context is None:
            raise SourceUnavailable("the certificates for upload servers are not made yet: try again")
        return Server(address, upload.host(claim, grant.namespace), content == "archive", self._context)

    def _claim(self, name: str, namespace: str) -> Obj:
        found = find(self._client, CLAIM, Key(name, namespace))
        if found is None:
            raise NotReady(f"rejecting Upload Request for PVC {name} that doesn't exist")
        return found

    def _prime(self, name: str, namespace: str) -> Obj:
        found = find(self._client, CLAIM, Key(name, namespace))
        if found is None:
            raise NotReady(f'persistentvolumeclaims "{name}" not found')
        return found

    def _refresh(self) -> None:
        if self._clock() - self._read < _KEPT:
            return
        try:
            key = self._client.get(SECRET, Key(upload.SIGNING_KEY, cdi.NAMESPACE))
            pair = self._client.get(SECRET, Key(upload.CLIENT_CERT, cdi.NAMESPACE))
            bundle = self._client.get(CONFIG_MAP, Key(upload.SERVER_SIGNER + upload.BUNDLE, cdi.NAMESPACE))
        except NotFound as error:
            raise SourceUnavailable(f"the keys for uploads are not made yet ({error}): try again") from error
        self._key = _entry(key, upload.PUBLIC_KEY)
        self._context = _context(
            _entry(pair, "tls.crt"), _entry(pair, "tls.key"), bundle["data"][upload.BUNDLE_KEY]
        )
        self._read = self._clock()


def _waiting(name: str, said: dict[str, str]) -> str:
    why = said.get(cdi.BOUND_MESSAGE) or said.get(cdi.RUNNING_MESSAGE) or "its upload server is not ready"
    return f"PVC {name} is not ready for an upload yet: {why}"


def _entry(secret: Obj, name: str) -> bytes:
    return base64.b64decode((secret.get("data") or {}).get(name, ""))


def _context(certificate: bytes, key: bytes, authorities: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with tempfile.TemporaryDirectory() as folder:  # load_cert_chain knows files only
        pair = Path(folder, "pair.pem")
        pair.touch(0o600)
        pair.write_bytes(certificate + key)
        context.load_cert_chain(pair)
    return context
