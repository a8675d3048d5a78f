"""A server's certificate on a cluster: made by ourselves, kept in Secrets that all replicas share, renewed in time.

The names and lives are those of CDI (cdi-wire: certificates): an authority lives 48 hours and is renewed at half, what
it signs 24 hours likewise. A new authority is in every bundle before anything is signed by it; the one before stays in
the bundle until it ends.
"""

import base64
import re
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from diskyard import log
from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, SECRET, Key, Kind, Obj
from diskyard.api.names import kubernetes
from diskyard.errors import AlreadyExists, ApiError, Conflict, NotFound
from diskyard.kube.cache import Cache
from diskyard.kube.client import Client
from diskyard.web import issue, tls
from diskyard.web.issue import Life, Pem

AUTHORITY_LIFE: Final = timedelta(hours=48)
SIGNED_LIFE: Final = timedelta(hours=24)
LEFT: Final = 0.5
"""A certificate is renewed when no more than that part of its life is left."""
EVERY: Final = 15.0
"""Seconds between two looks at what is kept."""
BUNDLE_KEY: Final = "ca-bundle.crt"
_BLOCK: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)

_log = log.logger("certificates")


@dataclass(frozen=True)
class Place:
    """Where one server's certificates are kept: `cdi-apiserver` in the namespace `cdi`."""

    namespace: str
    name: str

    @property
    def signer(self) -> Key:
        """The Secret of the authority."""
        return Key(f"{self.name}-signer", self.namespace)

    @property
    def bundle(self) -> Key:
        """The ConfigMap of every authority that may be met."""
        return Key(f"{self.name}-signer-bundle", self.namespace)

    @property
    def server(self) -> Key:
        """The Secret of the server."""
        return Key(f"{self.name}-server-cert", self.namespace)


@dataclass(frozen=True)
class Served:
    """What a server shows, and what its clients are to trust."""

    server: Pem
    bundle: bytes


def rotate(client: Client, place: Place, hosts: Sequence[str], now: datetime) -> Served:
    """The certificates of the moment, made or renewed where that is due. Raises ApiError."""
    authority, fresh = _kept(client, place.signer, _good, lambda: _authority(place, now), now)
    bundle = _published(client, place.bundle, authority.certificate, now)

    def fits(found: x509.Certificate, moment: datetime) -> bool:
        known = any(issue.signed_by(found, each) for each in _certificates(bundle))
        # Right after a new authority has come, its clients may not know it yet: what still serves goes on.
        lasts = issue.lasts(found, moment, 0.0 if fresh else LEFT)
        return known and lasts and issue.hosts(found) == set(hosts)

    server, _ = _kept(
        client, place.server, fits, lambda: issue.server(authority, hosts, Life(now, SIGNED_LIFE)), now
    )
    return Served(server, bundle)


def _authority(place: Place, now: datetime) -> Pem:
    return issue.authority(f"{place.name}@{int(now.timestamp())}", Life(now, AUTHORITY_LIFE))


def _good(found: x509.Certificate, now: datetime) -> bool:
    return issue.lasts(found, now, LEFT)


def _kept(
    client: Client,
    key: Key,
    fits: Callable[[x509.Certificate, datetime], bool],
    made: Callable[[], Pem],
    now: datetime,
) -> tuple[Pem, bool]:
    """The pair in a Secret, and whether it was made just now. Another replica may be doing the same."""
    while True:
        held = _find(client, SECRET, key)
        pem = _pem(held)
        found = issue.certificate(pem) if pem else None
        if pem and found is not None and fits(found, now):
            return pem, False
        pem = made()
        if _written(client, SECRET, held, _secret(key, pem)):
            _log.info("made a certificate", secret=key)
            return pem, True


def _published(client: Client, key: Key, authority: bytes, now: datetime) -> bytes:
    """The bundle with that authority and all others that have not ended."""
    while True:
        held = _find(client, CONFIG_MAP, key)
        before = str(((held or {}).get("data") or {}).get(BUNDLE_KEY) or "").encode()
        known = [authority, *_BLOCK.findall(before)]
        lasting = [one for one in known if any(issue.lasts(each, now, 0.0) for each in _certificates(one))]
        bundle = b"".join(dict.fromkeys(one.strip() + b"\n" for one in lasting))
        if bundle == before or _written(client, CONFIG_MAP, held, _config_map(key, bundle)):
            return bundle


def _written(client: Client, kind: Kind, held: Obj | None, wanted: Obj) -> bool:
    """Whether it could be written over what was seen; False: somebody else was faster."""
    try:
        if held is None:
            client.create(kind, wanted)
        else:
            client.update(kind, {**held, "data": wanted["data"]})
    except (Conflict, AlreadyExists):
        return False
    return True


def _find(client: Client, kind: Kind, key: Key) -> Obj | None:
    try:
        return client.get(kind, key)
    except NotFound:
        return None


def _pem(secret: Obj | None) -> Pem | None:
    said = (secret or {}).get("data") or {}
    if "tls.crt" not in said or "tls.key" not in said:
        return None
    try:
        return Pem(base64.b64decode(said["tls.crt"]), base64.b64decode(said["tls.key"]))
    except ValueError:
        return None


def _secret(key: Key, pem: Pem) -> Obj:
    data = {"tls.crt": pem.certificate, "tls.key": pem.key}
    encoded = {name: base64.b64encode(text).decode() for name, text in data.items()}
    return {**_object(SECRET, key), "type": kubernetes.TLS_SECRET, "data": encoded}


def _config_map(key: Key, bundle: bytes) -> Obj:
    return {**_object(CONFIG_MAP, key), "data": {BUNDLE_KEY: bundle.decode()}}


def _object(kind: Kind, key: Key) -> Obj:
    metadata = {"name": key.name, "namespace": key.namespace}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}


def _certificates(bundle: bytes) -> list[x509.Certificate]:
    found = []
    for block in _BLOCK.findall(bundle):
        try:
            found.append(x509.load_pem_x509_certificate(block))
        except ValueError:
            continue
    return found


def publish(client: Client, kind: Kind, name: str, bundle: bytes) -> None:
    """Tell an API server what to trust when it calls us: every webhook of a configuration, or an APIService.

    One that is not there is left alone: an operator may have switched it off. Raises ApiError.
    """
    encoded = base64.b64encode(bundle).decode()
    held = _find(client, kind, Key(name))
    if held is None:
        return
    wanted = trusting(held, encoded)
    if wanted != held:
        with suppress(Conflict):  # somebody is at it: the next look tells
            client.update(kind, wanted)
            _log.info("told the API server what to trust", kind=kind, name=name)


def trusting(held: Obj, bundle: str) -> Obj:
    """The webhook configuration or APIService as it is when it trusts that bundle (base64)."""
    if "webhooks" not in held:
        return {**held, "spec": {**meta.spec(held), "caBundle": bundle}}
    trusted: list[Any] = [
        {**hook, "clientConfig": {**(hook.get("clientConfig") or {}), "caBundle": bundle}}
        for hook in held["webhooks"]
    ]
    return {**held, "webhooks": trusted}


class Certificates:
    """Keeps a server's TLS context, and what the API server trusts, current on a thread of its own.

    A webhook configuration or APIService that is made anew knows us by nothing, and the API server turns away all that
    is for us: it is watched for, and told at once.
    """

    def __init__(
        self,
        client: Client,
        place: Place,
        hosts: Sequence[str],
        trusted_by: Iterable[tuple[Kind, str]] = (),
        every: float = EVERY,
    ) -> None:
        self._client = client
        self._place = place
        self._hosts = tuple(hosts)
        self._trusted_by = tuple(trusted_by)
        self._every = every
        self._cache = Cache(client, (kind for kind, _ in self._trusted_by), self._heard)
        self._due = threading.Event()
        self._server: Pem | None = None
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="certificates", daemon=True)

    def start(self) -> ssl.SSLContext:
        """The context to serve with, which stays current from now on. Raises ApiError."""
        self.look()
        self._cache.start()
        self._thread.start()
        return self._context

    def close(self) -> None:
        """Renew nothing more."""
        self._closed.set()
        self._due.set()
        if self._thread.is_alive():
            self._cache.stop()
            self._thread.join(timeout=10)

    def look(self) -> None:
        """Renew what is due, and tell everyone. Raises ApiError."""
        served = rotate(self._client, self._place, self._hosts, datetime.now(UTC))
        for kind, name in self._trusted_by:
            publish(self._client, kind, name, served.bundle)
        if served.server != self._server:
            with tempfile.TemporaryDirectory(prefix="diskyard-") as folder:
                pair = tls.Pair(Path(folder) / "tls.crt", Path(folder) / "tls.key")
                tls.keep(pair, served.server)
                self._context.load_cert_chain(pair.certificate, pair.key)
            self._server = served.server

    def _heard(self, kind: Kind, objects: Sequence[Obj]) -> None:
        if (kind, meta.name(objects[0])) in self._trusted_by:
            self._due.set()

    def _run(self) -> None:
        while True:
            self._due.wait(self._every)
            self._due.clear()
            if self._closed.is_set():
                return
            try:
                self.look()
            except ApiError as error:
                _log.warning("could not look after the certificates", error=error)
