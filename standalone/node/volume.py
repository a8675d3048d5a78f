"""A pod's volumes on this machine: what they are. Reads only; `mount.py` makes them ready."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diskyard.api import lending, meta
from diskyard.api.meta import CLAIM, VOLUME, Key, Kind, Obj
from diskyard.errors import NotFound
from diskyard.kube.client import Client
from standalone.node import environment
from standalone.node.content import KINDS, Content, content
from standalone.node.environment import Missing, Reader
from standalone.node.runtime import Home
from standalone.storage import volume as facts
from standalone.storage.match import unusable
from standalone.storage.place import Place


@dataclass(frozen=True)
class Volume:
    """One volume, and where it lies."""

    name: str
    path: Path
    content: Content | None = None
    """What to put there; None: it is the pod's own, a claim, or the machine's."""
    claim: bool = False
    block: bool = False
    read_only: bool = False
    images: bool = False
    """It is the node's image store, or a lease of it."""
    host: str | None = None
    """The `type` of a hostPath; None: it is none."""


@dataclass(frozen=True)
class Scene:
    """All that volumes are looked up in."""

    pod: Obj
    home: Home
    place: Place
    client: Client
    node: str
    fields: Mapping[str, str] = field(default_factory=dict)
    capacity: Mapping[str, str] = field(default_factory=dict)

    @property
    def reader(self) -> Reader:
        """How to read objects and fields."""
        return Reader(self.pod, environment.lookup(self.client), self.fields, self.capacity)


def volumes(scene: Scene) -> tuple[Volume, ...]:
    """Every volume of the pod. Raises Missing where something is not there."""
    return tuple(_volume(spec, scene) for spec in meta.spec(scene.pod).get("volumes") or ())


def changes(pod: Obj) -> bool:
    """Whether a volume of the pod follows objects while it runs."""
    return any(kind in spec for spec in meta.spec(pod).get("volumes") or () for kind in KINDS)


def _volume(spec: Obj, scene: Scene) -> Volume:
    name = str(spec["name"])
    where = scene.home.path / "volumes"
    if "emptyDir" in spec:
        return Volume(name, where / "kubernetes.io~empty-dir" / name)
    if "persistentVolumeClaim" in spec:
        return _claimed(name, spec["persistentVolumeClaim"], scene)
    if lending.is_store(spec):
        return _stored(name, lending.lease_of(spec), scene)
    if "hostPath" in spec:
        return _hosted(name, spec["hostPath"], scene)
    for kind in KINDS:
        if kind in spec:
            found = content(kind, spec[kind] or {}, scene.reader)
            return Volume(name, where / f"kubernetes.io~{kind.lower()}" / name, found)
    kind = next((key for key in spec if key != "name"), "nothing")
    raise Missing(
        f'volume "{name}" is of type {kind}: this node has emptyDir, persistentVolumeClaim, hostPath, '
        f"{', '.join(KINDS[:-1])} and {KINDS[-1]}"
    )


def _stored(name: str, lease: str, scene: Scene) -> Volume:
    """The node's image store, or one lease. Only controllers make pods with such a volume: admission sees to it."""
    store = scene.place.images()
    if store is None:
        raise Missing(f'volume "{name}" is an image store, and this node keeps none')
    return Volume(
        name, store.leased(lease).parent if lease else store.folder, read_only=bool(lease), images=True
    )


def _hosted(name: str, said: Mapping[str, Any], scene: Scene) -> Volume:
    path, kind = Path(str(said.get("path") or "")), str(said.get("type") or "")
    if refused := scene.place.refusal(path):
        raise Missing(f'volume "{name}": hostPath {refused}')
    return Volume(name, path, host=kind)


def _claimed(name: str, said: Mapping[str, Any], scene: Scene) -> Volume:
    claim_name = str(said.get("claimName", ""))
    claim = _get(scene.client, CLAIM, Key(claim_name, meta.namespace(scene.pod)))
    volume = _get(scene.client, VOLUME, Key(str(meta.spec(claim).get("volumeName") or "")))
    own, path = scene.place.volume(meta.name(volume)), facts.source(volume)[1]
    why = "" if path == own else unusable(volume, scene.place)
    if path is None or why or not facts.is_on(volume, scene.node):
        why = why or f"is not on node {scene.node}"
        raise Missing(f'persistentvolume "{meta.name(volume)}" {why}')
    read_only = bool(said.get("readOnly"))
    return Volume(name, path, claim=True, block=facts.is_block(volume), read_only=read_only)


def _get(client: Client, kind: Kind, key: Key) -> Obj:
    try:
        return client.get(kind, key)
    except NotFound:
        raise Missing(f'{kind.singular} "{key.name}" not found') from None
