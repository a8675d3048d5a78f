"""An image in a file: `oci-archive:FILE[:TAG]`, a tar of an OCI layout (image-spec, image-layout.md)."""

import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from diskyard.disk.archive import Archive, Kind
from diskyard.disk.head import read
from diskyard.disk.source import Source
from diskyard.errors import InvalidRequest, SourceMissing, UnsafeImage, UnsupportedImage
from importer.file import FileSource
from importer.registry.manifest import MAX_DOCUMENT, Descriptor

_INDEX: Final = "index.json"
_SCHEME: Final = "oci-archive:"
_NAMED: Final = re.compile(r"index\.json|blobs/[a-z0-9]{1,16}/[0-9a-f]{32,128}")
"""The files of a layout that are ever asked for; an archive may have any number of others."""
_MOST_BLOBS: Final = 1 << 12


@dataclass(frozen=True)
class Place:
    """A file inside the archive."""

    start: int
    size: int


def path_and_tag(url: str) -> tuple[Path, str]:
    """`oci-archive:FILE[:TAG]`; with two slashes the file's path is absolute, as skopeo and CDI read it."""
    text = url.removeprefix(_SCHEME)
    if text.startswith("//"):
        text = "/" + text.lstrip("/")
    if not text.strip("/"):
        raise InvalidRequest(f"expected oci-archive:FILE, found {url!r}")
    path, colon, tag = text.rpartition(":")
    if colon and not Path(text).exists() and "/" not in tag:
        return Path(path), tag
    return Path(text), ""


class Layout:
    """The blobs of a layout, read where they lie in the file."""

    def __init__(self, path: Path) -> None:
        """Raises SourceMissing, AccessDenied, UnsupportedImage."""
        self.name = str(path)
        self._path = path
        with closing(FileSource(path)) as file:
            self._places = _places(file)
        if _INDEX not in self._places:
            raise UnsupportedImage(
                f"{path} is no OCI archive: expected a tar with an index.json, found "
                f"{', '.join(list(self._places)[:3]) or 'no files'}. Make it with skopeo copy IMAGE oci-archive:FILE"
            )

    def manifest(self, version: str) -> bytes:
        """The manifest of a digest; for any other version, the layout's index."""
        name = _blob(version) if ":" in version else _INDEX
        with closing(self._slice(name)) as source:
            document = read(source, 0, MAX_DOCUMENT + 1)
        if len(document) > MAX_DOCUMENT:
            raise UnsupportedImage(
                f"{name} in {self.name} is too large: expected at most {MAX_DOCUMENT} bytes"
            )
        return document

    def blob(self, descriptor: Descriptor) -> Source:
        return self._slice(_blob(descriptor.digest))

    def _slice(self, name: str) -> "_Slice":
        place = self._places.get(name)
        if place is None:
            raise SourceMissing(f"there is no {name} in {self.name}: the archive is not whole. Make it again")
        return _Slice(FileSource(self._path), place)


class _Slice:
    """A part of a file as a Source."""

    ranged = True
    validator: str | None = None

    def __init__(self, file: FileSource, place: Place) -> None:
        self.size: int | None = place.size
        self._file = file
        self._place = place

    def readinto(self, buf: memoryview, offset: int) -> int | None:
        length = max(0, min(len(buf), self._place.size - offset))
        return self._file.readinto(buf[:length], self._place.start + offset) if length else 0

    def close(self) -> None:
        self._file.close()


def _places(file: FileSource) -> Mapping[str, Place]:
    archive = Archive(file)
    places: dict[str, Place] = {}
    for member in archive:
        name = "/".join(member.parts)
        if member.kind is Kind.FILE and _NAMED.fullmatch(name):
            places[name] = Place(archive.position, member.size)
        if len(places) > _MOST_BLOBS:
            raise UnsafeImage(f"the archive has more than {_MOST_BLOBS} blobs: expected those of one image")
    return places


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"
