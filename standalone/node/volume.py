"""A pod's volumes on this machine: first what they are (reads only), then made ready for a container."""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from diskyard.api import meta
from diskyard.api.meta import CLAIM, CONFIG_MAP, SECRET, VOLUME, Key, Kind, Obj
from diskyard.api.pod import WORKER_UID
from diskyard.errors import NotFound, Refused
from diskyard.kube.client import Client
from standalone.node import environment
from standalone.node.environment import Lookup, Missing
from standalone.node.runtime import Home
from standalone.node.sandbox import Bind
from standalone.storage import loop
from standalone.storage import volume as facts
from standalone.storage.match import unusable
from standalone.storage.place import Place

DEFAULT_MODE: Final = 0o644


@dataclass(frozen=True)
class Volume:
    """One volume, and where it lies."""

    name: str
    path: Path
    files: Mapping[str, bytes] | None = None
    """What to put there; None: it is the pod's own, or a claim."""
    mode: int = DEFAULT_MODE
    claim: bool = False
    block: bool = False
    read_only: bool = False


@dataclass(frozen=True)
class Scene:
    """All that volumes are looked up in."""

    pod: Obj
    home: Home
    place: Place
    client: Client
    node: str
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def look(self) -> Lookup:
        """How to read Secrets and ConfigMaps."""
        return environment.lookup(self.client)


def volumes(scene: Scene) -> tuple[Volume, ...]:
    """Every volume of the pod. Raises Missing where something is not there."""
    return tuple(_volume(spec, scene) for spec in meta.spec(scene.pod).get("volumes") or ())


def binds(container: Obj, found: Iterable[Volume], home: Home) -> tuple[Bind, ...]:
    """Make ready what a container mounts, and say what to bind. Raises Missing, OSError."""
    named = {volume.name: volume for volume in found}
    mounts = [(place(m["mountPath"]), _named(named, m), m) for m in container.get("volumeMounts") or ()]
    for volume in {volume.name: volume for _, volume, _ in mounts}.values():
        _make(volume)
    for path, volume, _ in mounts:
        _make_mount_points(path, volume, [other for other, _, _ in mounts])
    result = [
        Bind(volume.path, path, bool(said.get("readOnly")) or volume.read_only or _fixed(volume), volume=True)
        for path, volume, said in mounts
    ]
    for said in container.get("volumeDevices") or ():
        volume = _named(named, said)
        node = device_node(home, f"block-{volume.name}", _device(volume))
        result.append(Bind(node, place(said["devicePath"]), read_only=False, device=True))
    return tuple(result)


def _device(volume: Volume) -> Path:
    """The block device of a volume; raises Missing where the directory that should hold it is gone."""
    if volume.path.is_block_device():
        return volume.path
    if not volume.path.is_dir():
        raise Missing(f"{volume.path} is not there: the volume's directory was removed by hand")
    return loop.attached(volume.path)


def device_node(home: Home, name: str, device: Path) -> Path:
    """A device's node of this pod's own: its worker may use it, and the host's node stays as it is."""
    if os.geteuid() != 0:
        return device
    node = home.path / "devices" / name
    node.parent.mkdir(mode=0o700, exist_ok=True)
    node.unlink(missing_ok=True)
    found = device.stat()
    os.mknod(node, stat.S_IFMT(found.st_mode) | 0o600, found.st_rdev)
    os.chown(node, WORKER_UID, WORKER_UID)
    return node


def place(path: object) -> str:
    """A path inside the container, checked: bubblewrap would follow `..` out of the sandbox that it builds."""
    asked = PurePosixPath(str(path))
    if not asked.is_absolute() or ".." in asked.parts or len(asked.parts) < 2:
        raise Missing(f"{str(path)!r} is no place to mount at: expected an absolute path without '..'")
    return re.sub(r"^/var/run(?=/)", "/run", str(asked))


def _volume(spec: Obj, scene: Scene) -> Volume:
    name = str(spec["name"])
    where = scene.home.path / "volumes"
    if "emptyDir" in spec:
        return Volume(name, where / "kubernetes.io~empty-dir" / name)
    if "persistentVolumeClaim" in spec:
        return _claimed(name, spec["persistentVolumeClaim"], scene)
    for source in ("secret", "configMap", "downwardAPI", "projected"):
        if source in spec:
            said = spec[source] or {}
            files = dict(_files(source, said, scene))
            mode = int(said.get("defaultMode") or DEFAULT_MODE)
            return Volume(name, where / f"kubernetes.io~{source.lower()}" / name, files, mode)
    kind = next((key for key in spec if key != "name"), "nothing")
    raise Missing(
        f'volume "{name}" is of type {kind}: this node has emptyDir, persistentVolumeClaim, secret, configMap, '
        "downwardAPI and projected"
    )


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


def _files(source: str, said: Mapping[str, Any], scene: Scene) -> Iterator[tuple[str, bytes]]:
    if source == "projected":
        for part in said.get("sources") or ():
            for inner, more in part.items():
                yield from _files(inner, more or {}, scene)
    elif source == "downwardAPI":
        for item in said.get("items") or ():
            path = str((item.get("fieldRef") or {}).get("fieldPath", ""))
            yield str(item["path"]), environment.field(path, scene.pod, scene.fields).encode()
    elif source in ("secret", "configMap"):
        yield from _entries(SECRET if source == "secret" else CONFIG_MAP, said, scene)
    else:
        raise Missing(f"a projected volume of {source} is not supported by this node")


def _entries(kind: Kind, said: Mapping[str, Any], scene: Scene) -> Iterator[tuple[str, bytes]]:
    name = str(said.get("secretName") or said.get("name") or "")
    found = scene.look(kind, Key(name, meta.namespace(scene.pod)))
    if found is None:
        if said.get("optional"):
            return
        raise Missing(f'{kind.singular} "{name}" not found')
    items = said.get("items")
    if not items:
        yield from found.items()
        return
    for item in items:
        if item["key"] in found:
            yield str(item.get("path") or item["key"]), found[item["key"]]
        elif not said.get("optional"):
            raise Missing(f"references non-existent {kind.singular} key: {item['key']}")


def _named(named: Mapping[str, Volume], said: Mapping[str, Any]) -> Volume:
    volume = named.get(str(said.get("name")))
    if volume is None:
        raise Missing(f'the container mounts "{said.get("name")}", and the pod has no volume of that name')
    if said.get("subPath") or said.get("subPathExpr"):
        raise Missing(f'the mount of "{volume.name}" has a subPath: this node mounts whole volumes only')
    return volume


def _fixed(volume: Volume) -> bool:
    return volume.files is not None


def _make(volume: Volume) -> None:
    if volume.claim:
        if not volume.path.is_dir():
            raise Missing(f"{volume.path} is not there: the volume's directory was removed by hand")
        return
    volume.path.mkdir(mode=0o770, parents=True, exist_ok=True)
    _own(volume.path)
    for name, content in (volume.files or {}).items():
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or parts[0] == "/":
            raise Missing(f'volume "{volume.name}" has the path {name!r}: expected one inside the volume')
        _put(volume.path / name, content, volume.mode)


def _put(file: Path, content: bytes, mode: int) -> None:
    file.parent.mkdir(mode=0o770, parents=True, exist_ok=True)
    _own(file.parent)
    part = file.with_name(file.name + ".part")
    part.write_bytes(content)
    part.chmod(mode)
    _own(part)
    part.rename(file)


def _make_mount_points(path: str, volume: Volume, others: Sequence[str]) -> None:
    """Make the directories in a volume on which other mounts come to lie, and follow no link that a container left."""
    for other in others:
        inside = PurePosixPath(other)
        if other == path or not inside.is_relative_to(path):
            continue
        here = os.open(volume.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in inside.relative_to(path).parts:
                here = _step(here, part, other)
        finally:
            os.close(here)


def _step(parent: int, part: str, path: str) -> int:
    try:
        with suppress(FileExistsError):
            os.mkdir(part, 0o755, dir_fd=parent)
        child = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except NotADirectoryError:
        raise Refused(f"{path} cannot be mounted: {part!r} on its way is not a directory") from None
    os.close(parent)
    return child


def _own(path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, WORKER_UID, WORKER_UID)
