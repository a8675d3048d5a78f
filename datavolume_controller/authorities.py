"""The keys of uploads: what signs tokens, what signs servers' certificates, what the proxy shows to servers."""

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from datavolume_controller import uploader
from diskyard.api import meta, token
from diskyard.api.meta import CDI, CDI_CONFIG, CONFIG_MAP, SECRET, Key, Kind, Obj
from diskyard.api.names import cdi, upload
from diskyard.errors import AlreadyExists
from diskyard.kube.client import Client
from diskyard.kube.reconcile import Action, Plan, find
from diskyard.web import issue
from diskyard.web.issue import Life, Pem

SIGNER_LIFE: Final = timedelta(days=3650)
LIFE: Final = timedelta(days=365)
LEFT: Final = 0.2
"""Part of a life after which there is to be another certificate."""
LOOK_AGAIN: Final = 3600.0
SIGNERS: Final = (upload.SERVER_SIGNER, upload.CLIENT_SIGNER, upload.PROXY_SIGNER)
PROXY_HOSTS: Final = tuple(
    f"{upload.PROXY}{rest}" for rest in (f".{cdi.NAMESPACE}.svc", "", f".{cdi.NAMESPACE}")
)
_OVERRIDE: Final = "uploadProxyURLOverride"
_HOST: Final = re.compile(r"[0-9a-z.-]{1,253}|[0-9a-f:.]{2,45}")


@dataclass(frozen=True)
class World:
    """The Secrets that there are."""

    pairs: Mapping[str, Pem]
    bundles: frozenset[str]
    key: bool
    """Whether there is a key for tokens."""
    now: datetime
    hosts: tuple[str, ...] = PROXY_HOSTS
    """By which clients may know the proxy."""

    def fresh(self, name: str) -> bool:
        """Whether a Secret's certificate lasts, and the proxy's is for all of its names."""
        pair = self.pairs.get(name)
        found = issue.certificate(pair) if pair else None
        if found is None or not issue.lasts(found, self.now, LEFT):
            return False
        return name != upload.PROXY_CERT or issue.hosts(found) >= set(self.hosts)


class Authorities:
    """Makes each key where there is none, and again before its end."""

    kind: Kind = CDI
    wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {}

    def gather(self, client: Client, key: Key) -> World | None:
        """What of it is there."""
        owner = find(client, CDI, key)
        if owner is None:
            return None
        config = find(client, CDI_CONFIG, Key(cdi.CONFIG_NAME)) or {}
        asked = meta.spec(owner).get("config") or {}
        urls = (asked.get(_OVERRIDE), meta.status(config).get("uploadProxyURL"))
        names = (*SIGNERS, upload.CLIENT_CERT, upload.PROXY_CERT)
        found = {name: uploader.pair(find(client, SECRET, _here(name))) for name in names}
        return World(
            pairs={name: pair for name, pair in found.items() if pair},
            bundles=frozenset(
                name for name in SIGNERS if find(client, CONFIG_MAP, _here(name + upload.BUNDLE)) is not None
            ),
            key=find(client, SECRET, _here(upload.SIGNING_KEY)) is not None,
            now=datetime.now(UTC),
            hosts=tuple(dict.fromkeys((*PROXY_HOSTS, *(host for url in urls for host in _named(url))))),
        )

    def decide(self, world: World) -> Plan:
        """What is missing, the authorities first. A yard has brought its own for the proxy."""
        wanted = [name for name in SIGNERS if name != upload.PROXY_SIGNER or _ours(world)]
        actions: list[Action] = [] if world.key else [SigningKey()]
        actions += [Authority(name, world.now) for name in wanted if not world.fresh(name)]
        if actions:
            return Plan(tuple(actions), requeue_after=0.1)
        actions += [
            Bundle(name, world.pairs[name].certificate) for name in wanted if name not in world.bundles
        ]
        for name, signer in (
            (upload.CLIENT_CERT, upload.CLIENT_SIGNER),
            (upload.PROXY_CERT, upload.PROXY_SIGNER),
        ):
            if signer in wanted and not world.fresh(name):
                actions.append(Certificate(name, world.pairs[signer], world.now, world.hosts))
        return Plan(tuple(actions), requeue_after=LOOK_AGAIN)


def _ours(world: World) -> bool:
    """Whether the proxy's certificate is ours to make: no yard has published its own authority."""
    return upload.PROXY_SIGNER not in world.bundles or upload.PROXY_SIGNER in world.pairs


def _named(url: object) -> tuple[str, ...]:
    """The host of the URL by which an operator has people reach the proxy."""
    text = url if isinstance(url, str) else ""
    try:
        host = urlsplit(text if "://" in text else f"//{text}").hostname or ""
    except ValueError:
        return ()
    return (host,) if _HOST.fullmatch(host) else ()


@dataclass(frozen=True)
class SigningKey:
    """Make the key of tokens, once."""

    def carry_out(self, client: Client) -> None:
        """Make it."""
        private, public = token.keys()
        entries = {upload.PRIVATE_KEY: private, upload.PUBLIC_KEY: public}
        _put(client, SECRET, _object(SECRET, upload.SIGNING_KEY) | {"data": _encoded(entries)})


@dataclass(frozen=True)
class Authority:
    """Make an authority, or another one in its place."""

    name: str
    now: datetime

    def carry_out(self, client: Client) -> None:
        """Make it."""
        made = issue.authority(f"{self.name}@{self.now.timestamp():.0f}", Life(self.now, SIGNER_LIFE))
        _put(client, SECRET, uploader.secret(meta.meta(_object(SECRET, self.name)), made))
        Bundle(self.name, made.certificate).carry_out(client)


@dataclass(frozen=True)
class Bundle:
    """Say whom to trust."""

    name: str
    certificate: bytes

    def carry_out(self, client: Client) -> None:
        """Write it."""
        obj = _object(CONFIG_MAP, self.name + upload.BUNDLE)
        _put(client, CONFIG_MAP, obj | {"data": {upload.BUNDLE_KEY: self.certificate.decode()}})


@dataclass(frozen=True)
class Certificate:
    """Make the proxy's certificate, for its clients or for servers."""

    name: str
    signer: Pem
    now: datetime
    hosts: tuple[str, ...] = PROXY_HOSTS

    def carry_out(self, client: Client) -> None:
        """Make it."""
        life = Life(self.now, LIFE)
        if self.name == upload.CLIENT_CERT:
            made = issue.client(self.signer, upload.CLIENT_NAME, life)
        else:
            made = issue.server(self.signer, self.hosts, life)
        _put(client, SECRET, uploader.secret(meta.meta(_object(SECRET, self.name)), made))


def _put(client: Client, kind: Kind, obj: Obj) -> None:
    try:
        client.create(kind, obj)
    except AlreadyExists:
        client.patch(kind, meta.key(obj), {"data": obj["data"]})


def _object(kind: Kind, name: str) -> Obj:
    metadata = {"name": name, "namespace": cdi.NAMESPACE}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}


def _encoded(entries: Mapping[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(entry).decode() for name, entry in entries.items()}


def _here(name: str) -> Key:
    return Key(name, cdi.NAMESPACE)
