"""The one disk of an image: a file below `disk/`, or where it was said to be, read out of its compressed layer.

Layers are read from the uppermost down, and no further than the one that has a disk: upper layers win, and
what a whiteout (OCI image-spec, layer.md) takes away is not there. The rest of the layer is read behind the
disk, for the digest, before the disk ends.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from diskyard.disk.archive import Archive, Kind, Member
from diskyard.disk.head import Headed
from diskyard.disk.member import Body
from diskyard.disk.probe import COMPRESSIONS, probe
from diskyard.disk.unpack import Unpacked
from diskyard.errors import SourceChanged, UnsafeImage, UnsupportedImage
from importer.registry.blob import Store, Verified
from importer.registry.manifest import Config, Descriptor

FOLDER: Final = "disk"
_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_MOST_HIDDEN: Final = 4096
"""Files at the disk's place that upper layers may take away."""

_Path = tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """Where the disk is."""

    path: _Path = (FOLDER,)
    exact: bool = False
    """The disk is at the path itself, not below it."""

    @classmethod
    def at(cls, path: str) -> "Wanted":
        """As a containerDisk says it; empty: the one file below `/disk`."""
        parts = tuple(part for part in path.split("/") if part)
        return cls(parts, exact=True) if parts else cls()

    def __str__(self) -> str:
        return f"the file /{'/'.join(self.path)}" if self.exact else f"one file below /{FOLDER}"

    def has(self, parts: _Path) -> bool:
        """Whether that is a path of the disk."""
        return parts == self.path if self.exact else parts[: len(self.path)] == self.path

    def touches(self, parts: _Path) -> bool:
        """Whether what becomes of that path matters: it is one of the disk, or of a folder that it is in."""
        return parts[: len(self.path)] == self.path[: len(parts)]


class LayerDisk:
    """The bytes of a disk in a layer. They end only when the layer is verified and has no other disk."""

    ranged = False

    def __init__(self, layer: "_Layer", member: Member, said: Config) -> None:
        self.size: int | None = member.size
        self.validator: str | None = f"{layer.digest}/{'/'.join(member.parts)}"
        self.said = said
        """What the image says of itself."""
        self._layer = layer
        self._body = layer.body(member)
        self._moved = False

    def readinto(self, buf: memoryview, offset: int) -> int | None:
        """Offsets go forward, or back to 0: then the layer is fetched once more."""
        if offset == 0 and self._moved:
            self._layer = self._layer.again()
            member = self._layer.disk()
            if member is None or member.size != self.size:
                raise SourceChanged("the layer is another one than a moment ago: run the import again")
            self._body = self._layer.body(member)
        self._moved = True
        return self._body.readinto(buf, offset)

    def silence(self) -> float | None:
        return self._layer.blob.silence()

    def waits(self) -> bool:
        return self._layer.blob.waits

    def close(self) -> None:
        self._layer.close()


def disk(store: Store, layers: Sequence[Descriptor], said: Config, wanted: Wanted) -> LayerDisk:
    """The disk of an image. Raises UnsupportedImage where there is none, or more than one."""
    hidden = _Hidden(wanted)
    for descriptor in reversed(layers):
        layer = _Layer(store, descriptor, hidden)
        with ExitStack() as unused:
            unused.callback(layer.close)
            member = layer.disk()
            if member is not None:
                unused.pop_all()
                return LayerDisk(layer, member, said)
        if hidden.all:
            break
    advice = "" if wanted.exact else f". Build it so: FROM scratch, then ADD --chown=107:107 IMAGE /{FOLDER}/"
    raise UnsupportedImage(
        f"{store.name} has no disk: expected {wanted}, found none in {len(layers)} layers{advice}"
    )


class _Hidden:
    """What upper layers have taken away from the lower ones."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.all = False
        self._paths: set[_Path] = set()
        self._noted: list[_Path] = []

    def note(self, member: Member) -> None:
        """Keep what a member hides in the layers below its own."""
        *folder, last = member.parts
        path: _Path | None = None
        if last == _OPAQUE:
            path = tuple(folder)
        elif last.startswith(_WHITEOUT):
            path = (*folder, last.removeprefix(_WHITEOUT))
        elif member.parts == self.wanted.path[: len(member.parts)] and member.kind is not Kind.FOLDER:
            path = member.parts
        if path is not None and self.wanted.touches(path):
            self._noted.append(path)
        if len(self._noted) + len(self._paths) > _MOST_HIDDEN:
            raise UnsafeImage(
                f"an image takes away more than {_MOST_HIDDEN} files below /{'/'.join(self.wanted.path)}: expected few"
            )

    def settle(self) -> None:
        """The layer is done: what it hides holds from now on."""
        self._paths.update(self._noted)
        self._noted.clear()
        above = (self.wanted.path[:length] for length in range(len(self.wanted.path) + 1))
        self.all = self.all or not self._paths.isdisjoint(above)

    def hides(self, parts: _Path) -> bool:
        return any(parts[:length] in self._paths for length in range(len(parts) + 1))


class _Layer:
    """One layer as it is read."""

    def __init__(self, store: Store, descriptor: Descriptor, hidden: _Hidden) -> None:
        self.digest = descriptor.digest
        self._store = store
        self._descriptor = descriptor
        self._hidden = hidden
        self.blob = Verified(store.blob(descriptor), descriptor, store.name)
        self._body = Headed(self.blob)
        kind = probe(self._body.head(512))
        self._archive = Archive(Unpacked(self._body, kind) if kind in COMPRESSIONS else self._body)
        self._members = iter(self._archive)

    def again(self) -> "_Layer":
        """The same layer from its beginning."""
        self.close()
        return _Layer(self._store, self._descriptor, self._hidden)

    def disk(self) -> Member | None:
        """The first disk, its body not yet read; None at the layer's verified end."""
        for member in self._disks():
            return member
        self._archive.finish()
        self._hidden.settle()
        return None

    def body(self, disk: Member) -> Body:
        """The disk's bytes; the last of them come when the layer is verified."""
        return Body(self._archive, disk, partial(self._finish, disk))

    def _finish(self, first: Member) -> None:
        """Read and verify the rest of the layer. Raises UnsupportedImage where it has another disk."""
        for other in self._disks():
            raise UnsupportedImage(
                f"{self._store.name} has more than one disk: expected {self._hidden.wanted}, found "
                f"{first.name} and {other.name}. Build it with one"
            )
        self._archive.finish()

    def close(self) -> None:
        self._body.close()

    def _disks(self) -> Iterator[Member]:
        for member in self._members:
            if not member.parts:
                continue
            self._hidden.note(member)
            if (
                not self._hidden.wanted.has(member.parts)
                or member.kind is Kind.FOLDER
                or _is_whiteout(member)
            ):
                continue
            if self._hidden.hides(member.parts):
                continue
            if member.kind is not Kind.FILE or ".." in member.parts:
                raise UnsupportedImage(
                    f"{self._store.name} has a {member.kind} at {member.name}: expected a plain file there"
                )
            yield member


def _is_whiteout(member: Member) -> bool:
    return member.parts[-1].startswith(_WHITEOUT)
