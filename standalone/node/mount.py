"""Makes a pod's volumes ready for its containers, and keeps what follows objects current."""

import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final

from diskyard.api import meta
from diskyard.api.meta import POD, SERVICE_ACCOUNT, Obj
from diskyard.api.pod import WORKER_UID
from diskyard.errors import Refused
from diskyard.kube.client import Client
from standalone.node.content import File, Token
from standalone.node.environment import Missing
from standalone.node.identity import WORKER, Identity
from standalone.node.runtime import Home
from standalone.node.sandbox import Bind
from standalone.node.volume import Volume
from standalone.storage import loop

RENEWED: Final = 0.8
"""Of a token's life, after which it is made anew: as a kubelet does."""
_NO_LINK: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_HOST_TYPES: Final = {
    "": bool,
    "DirectoryOrCreate": stat.S_ISDIR, "Directory": stat.S_ISDIR,
    "FileOrCreate": stat.S_ISREG, "File": stat.S_ISREG,
    "Socket": stat.S_ISSOCK, "CharDevice": stat.S_ISCHR, "BlockDevice": stat.S_ISBLK,
}  # fmt: skip


@dataclass(frozen=True)
class Mounts:
    """The volumes of a pod, and for whom they are made ready."""

    pod: Obj
    home: Home
    volumes: tuple[Volume, ...]
    who: Identity = WORKER

    def binds(self, container: Obj, client: Client) -> tuple[Bind, ...]:
        """Make ready what a container mounts, and say what to bind. Raises Missing, Refused, OSError, ApiError."""
        named = {volume.name: volume for volume in self.volumes}
        mounts = [(place(m["mountPath"]), _named(named, m), m) for m in container.get("volumeMounts") or ()]
        for volume in {volume.name: volume for _, volume, _ in mounts}.values():
            self.make(volume, client)
        for path, volume, _ in mounts:
            _make_mount_points(path, volume, [other for other, _, _ in mounts])
        result = [
            Bind(
                volume.path,
                path,
                bool(said.get("readOnly")) or volume.read_only or volume.content is not None,
                volume=True,
            )
            for path, volume, said in mounts
        ]
        for said in container.get("volumeDevices") or ():
            volume = _named(named, said)
            name = f"{container['name']}-block-{volume.name}"
            node = self.device_node(name, _device(volume), read_only=volume.read_only)
            result.append(Bind(node, place(said["devicePath"]), read_only=False, device=True))
        return tuple(result)

    def make(self, volume: Volume, client: Client) -> None:
        """Make one volume ready; of one that follows objects, bring its files up to date."""
        if volume.host is not None:
            _make_hosted(volume)
            return
        if volume.images:
            return
        if volume.claim:
            _there(volume)
            if not volume.read_only:
                self._share(volume.path)
            return
        fresh = not volume.path.exists()
        volume.path.mkdir(mode=0o777, parents=True, exist_ok=True)
        if fresh:
            _own(volume.path)
            volume.path.chmod(0o777 if volume.content is None else 0o755)
        if volume.content is None:
            self._share(volume.path)
            return
        tokens = {token.path: token for token in volume.content.tokens}
        for name, file in volume.content.files.items():
            self._put(volume, name, file)
        for token in tokens.values():
            if _due(volume.path / token.path):
                self._renew(volume, token, client)
        _clear(volume.path, {*volume.content.files, *tokens})

    def device_node(self, name: str, device: Path, *, read_only: bool = False) -> Path:
        """A device's node of this pod's own: its worker may use it, and the host's node stays as it is.

        One to be read belongs to root, so that its worker cannot give itself more.
        """
        if os.geteuid() != 0:
            return device
        node = self.home.path / "devices" / name
        node.parent.mkdir(mode=0o700, exist_ok=True)
        node.unlink(missing_ok=True)
        found = device.stat()
        os.mknod(node, stat.S_IFMT(found.st_mode) | 0o600, found.st_rdev)
        os.chown(node, 0 if read_only else self.who.user, self.who.group)
        if read_only:
            node.chmod(0o440)
        return node

    def _put(self, volume: Volume, name: str, file: File) -> None:
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or parts[0] == "/":
            raise Missing(f'volume "{volume.name}" has the path {name!r}: expected one inside the volume')
        path = volume.path / name
        with suppress(FileNotFoundError):
            if path.read_bytes() == file.text:
                return
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        part = path.with_name(f"..{path.name}.part")
        part.write_bytes(file.text)
        part.chmod(file.mode)
        _own(part)
        if self.who.volumes is not None and os.geteuid() == 0:
            os.chown(part, -1, self.who.volumes)
            part.chmod(file.mode | (file.mode & 0o600) >> 3)
        part.rename(path)

    def _renew(self, volume: Volume, token: Token, client: Client) -> None:
        """A fresh token; the time of its file's last change is when it is to be renewed."""
        account = str(meta.spec(self.pod).get("serviceAccountName") or "default")
        ref = {"apiVersion": "v1", "kind": POD.kind, "name": meta.name(self.pod), "uid": meta.uid(self.pod)}
        wish = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {"name": account, "namespace": meta.namespace(self.pod)},
            "spec": {
                "audiences": [token.audience] if token.audience else [],
                "expirationSeconds": token.seconds,
                "boundObjectRef": ref,
            },
        }
        said = meta.status(client.create(SERVICE_ACCOUNT, wish, "token"))
        self._put(volume, token.path, File(str(said["token"]).encode(), token.mode))
        now = datetime.now(UTC)
        left = (meta.moment(str(said["expirationTimestamp"])) - now).total_seconds()
        os.utime(volume.path / token.path, (now.timestamp(), now.timestamp() + left * RENEWED))

    def _share(self, path: Path) -> None:
        """Give a volume to the pod's fsGroup, with all that is in it, unless it has it already."""
        group = self.who.volumes
        if group is None or os.geteuid() != 0 or path.is_block_device() or path.stat().st_gid == group:
            return
        for _, folders, files, here in os.fwalk(path):
            for name in (*folders, *files):
                with suppress(OSError):  # a link, which leads anywhere, or gone meanwhile
                    _give(os.open(name, _NO_LINK, dir_fd=here), group)
        _give(os.open(path, _NO_LINK), group)


def _give(file: int, group: int) -> None:
    """Let a group read and write an open file or directory; close it."""
    try:
        found = os.fstat(file)
        if stat.S_ISDIR(found.st_mode) or found.st_nlink == 1:
            os.fchown(file, -1, group)
            os.fchmod(file, stat.S_IMODE(found.st_mode) | (0o2070 if stat.S_ISDIR(found.st_mode) else 0o060))
    finally:
        os.close(file)


def place(path: object) -> str:
    """A path inside the container, checked: bubblewrap would follow `..` out of the sandbox that it builds."""
    asked = PurePosixPath(str(path))
    if not asked.is_absolute() or ".." in asked.parts or len(asked.parts) < 2:
        raise Missing(f"{str(path)!r} is no place to mount at: expected an absolute path without '..'")
    return re.sub(r"^/var/run(?=/)", "/run", str(asked))


def _named(named: Mapping[str, Volume], said: Mapping[str, Any]) -> Volume:
    volume = named.get(str(said.get("name")))
    if volume is None:
        raise Missing(f'the container mounts "{said.get("name")}", and the pod has no volume of that name')
    if said.get("subPath") or said.get("subPathExpr"):
        raise Missing(f'the mount of "{volume.name}" has a subPath: this node mounts whole volumes only')
    return volume


def _make_hosted(volume: Volume) -> None:
    kind = volume.host or ""
    if kind not in _HOST_TYPES:
        raise Missing(
            f'hostPath of volume "{volume.name}" is of type {kind}: expected {", ".join(_HOST_TYPES)}'
        )
    if kind == "FileOrCreate":
        volume.path.touch(mode=0o644)
    elif kind in ("", "DirectoryOrCreate") and not volume.path.exists():
        volume.path.mkdir(mode=0o755, parents=True)
    try:
        fits = _HOST_TYPES[kind](volume.path.stat().st_mode)
    except FileNotFoundError:
        fits = False
    if not fits:
        raise Missing(f"hostPath type check failed: {volume.path} is not a {kind}")


def _device(volume: Volume) -> Path:
    """The block device of a volume. Raises Missing."""
    if volume.path.is_block_device():
        return volume.path
    _there(volume)
    return loop.attached(volume.path)


def _there(volume: Volume) -> None:
    if not volume.path.is_dir():
        raise Missing(f"{volume.path} is not there: the volume's directory was removed by hand")


def _due(file: Path) -> bool:
    """Whether a token is to be made: it is not there, or its time has come."""
    try:
        return file.stat().st_mtime <= datetime.now(UTC).timestamp()
    except FileNotFoundError:
        return True


def _clear(folder: Path, kept: Iterable[str]) -> None:
    """Take away the files that no object holds any more."""
    for path in folder.rglob("*"):
        if path.is_file() and str(path.relative_to(folder)) not in kept:
            path.unlink(missing_ok=True)


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
