"""The CDIConfig: its spec follows the CDI, its status says what follows from the spec."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from diskyard.api import meta
from diskyard.api.config import DEFAULT_RESOURCES
from diskyard.api.meta import CDI, CDI_CONFIG, CONFIG_MAP, INGRESS, SERVICE, STORAGE_CLASS, Key, Kind, Obj
from diskyard.api.names import cdi, upload
from diskyard.api.quantity import DEFAULT_OVERHEAD
from diskyard.errors import NotFound
from diskyard.kube.client import Client, Selection
from diskyard.kube.reconcile import NOTHING, Create, Merge, Plan, find

KEY: Final = Key(cdi.CONFIG_NAME)
PROXY: Final = Key(upload.PROXY, cdi.NAMESPACE)
AUTHORITY_PAUSE: Final = 30.0
"""Seconds until it is looked again for the upload proxy's authority: ConfigMaps are not watched for it."""
AUTHORITY: Final = Key(upload.PROXY_SIGNER + upload.BUNDLE, cdi.NAMESPACE)
_FRACTION: Final = re.compile(r"0(?:\.\d{1,3})?|1")


@dataclass(frozen=True)
class World:
    """The one CDIConfig, the CDI that owns it, and the storage classes that it speaks of."""

    config: Obj | None
    cdi: Obj | None
    classes: tuple[str, ...]
    proxy: Obj | None = None
    """The upload proxy's Service."""
    authority: Obj | None = None
    """The ConfigMap with the certificates by which the upload proxy is known."""
    ingresses: tuple[Obj, ...] = ()
    """Those beside the upload proxy."""


def _the_one(_: Obj) -> Iterable[Key]:
    yield KEY


def named(key: Key) -> Callable[[Obj], Iterable[Key]]:
    """For `wakes`: the config, when that one object changes."""
    return lambda obj: (KEY,) if meta.key(obj) == key else ()


class Configs:
    """Keeps the CDIConfig `config`."""

    kind: Kind = CDI_CONFIG
    wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {
        CDI: _the_one,
        STORAGE_CLASS: _the_one,
        SERVICE: named(PROXY),
        INGRESS: lambda obj: (KEY,) if meta.namespace(obj) == PROXY.namespace else (),
    }

    def gather(self, client: Client, key: Key) -> World | None:
        """The config and what it follows from; None: another name."""
        if key != KEY:
            return None
        owners = client.list(CDI).items
        return World(
            config=find(client, CDI_CONFIG, KEY),
            cdi=owners[0] if owners else None,
            classes=tuple(meta.name(each) for each in client.list(STORAGE_CLASS).items),
            proxy=find(client, SERVICE, PROXY),
            authority=find(client, CONFIG_MAP, AUTHORITY),
            ingresses=_ingresses(client),
        )

    def decide(self, world: World) -> Plan:
        """Make it, or bring it up to date."""
        if world.config is None:
            return Plan((Create(CDI_CONFIG, _made(world.cdi)),)) if world.cdi else NOTHING
        asked = meta.spec(world.cdi).get("config") if world.cdi else None
        spec = meta.spec(world.config) if asked is None else asked
        said = status(spec, world.classes) | _upload(spec, world)
        patch = {
            **_replaced("spec", meta.spec(world.config), spec),
            **_replaced("status", meta.status(world.config), said),
        }
        again = None if world.authority else AUTHORITY_PAUSE
        return Plan((Merge(CDI_CONFIG, KEY, patch),) if patch else (), again)


def status(spec: Mapping[str, Any], classes: Iterable[str]) -> Obj:
    """What follows from a CDIConfig's spec (cdi-wire: CDIConfig defaults)."""
    overhead = spec.get("filesystemOverhead") or {}
    overall = _fraction(overhead.get("global"), DEFAULT_OVERHEAD)
    single = overhead.get("storageClass") or {}
    scratch = str(spec.get("scratchSpaceStorageClass") or "")
    classes = tuple(classes)
    said = {
        "importProxy": spec.get("importProxy"),
        "imagePullSecrets": spec.get("imagePullSecrets"),
        "scratchSpaceStorageClass": scratch if scratch in classes else "",
        "defaultPodResourceRequirements": resources(spec.get("podResourceRequirements") or {}),
        "filesystemOverhead": {
            "global": overall,
            "storageClass": {name: _fraction(single.get(name), overall) for name in classes},
        },
        "preallocation": spec.get("preallocation") is True,
    }
    return {key: text for key, text in said.items() if text is not None}


def _upload(spec: Mapping[str, Any], world: World) -> Obj:
    """Where the upload proxy is, and whom to trust there: the operator's word, an Ingress that leads to it, its own."""
    own = meta.annotations(world.proxy or {}).get(upload.PROXY_URL)
    hosts = (host for each in world.ingresses if (host := _host(each)))
    said = {
        "uploadProxyURL": spec.get("uploadProxyURLOverride") or next(hosts, own),
        "uploadProxyCA": ((world.authority or {}).get("data") or {}).get(upload.BUNDLE_KEY),
    }
    return {key: text for key, text in said.items() if text}


def _ingresses(client: Client) -> tuple[Obj, ...]:
    """Those of the upload proxy's namespace; none where the server knows none."""
    try:
        return client.list(INGRESS, Selection(PROXY.namespace)).items
    except NotFound:
        return ()


def _host(ingress: Obj) -> str:
    """The name by which an Ingress leads to the upload proxy; empty: it leads elsewhere, or by no name."""
    for rule in meta.spec(ingress).get("rules") or ():
        for path in (rule.get("http") or {}).get("paths") or ():
            service = (path.get("backend") or {}).get("service") or {}
            if service.get("name") == PROXY.name:
                return str(rule.get("host") or "")
    return ""


def resources(asked: Mapping[str, Any]) -> Obj:
    """What a worker's container gets: the defaults, each field overridden by its own."""
    return {side: {**DEFAULT_RESOURCES[side], **(asked.get(side) or {})} for side in ("limits", "requests")}


def _made(owner: Obj | None) -> Obj:
    references = [meta.owner_reference(CDI, owner)] if owner else []
    return {
        "apiVersion": CDI_CONFIG.api_version,
        "kind": CDI_CONFIG.kind,
        "metadata": {"name": cdi.CONFIG_NAME, "ownerReferences": references},
        "spec": meta.spec(owner or {}).get("config") or {},
    }


def _replaced(field: str, held: Mapping[str, Any], wanted: Mapping[str, Any]) -> Obj:
    """A merge patch's part that makes `field` exactly as wanted: what is too much is taken away."""
    if held == wanted:
        return {}
    return {field: _difference(held, wanted)}


def _difference(held: Mapping[str, Any], wanted: Mapping[str, Any]) -> Obj:
    changed: Obj = {key: None for key in held if key not in wanted}
    for key, value in wanted.items():
        before = held.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            changed |= {key: _difference(before, value)} if value != before else {}
        elif value != before:
            changed[key] = value
    return changed


def _fraction(said: object, otherwise: str) -> str:
    return str(said) if _FRACTION.fullmatch(str(said)) else otherwise
