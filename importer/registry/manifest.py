"""Manifests, indexes and configurations of images: JSON in, values out; bounded, and nothing believed unseen.

OCI image-spec 1.1, and Docker's image manifest version 2, schema 2, which says the same in other words.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from diskyard.errors import InvalidRequest, SourceMissing, UnsupportedImage
from importer.registry.reference import DIGEST

MAX_DOCUMENT: Final = 4 << 20
"""Bytes of a manifest or a configuration: what registries take."""
MAX_LAYERS: Final = 512
_MAX_LABELS: Final = 12
_KEY: Final = re.compile(r"[a-z0-9.]{1,64}/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_VALUE: Final = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
_INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_IMAGES: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
ACCEPT: Final = ", ".join((*_INDEXES, *_IMAGES))
_TAG: Final = "org.opencontainers.image.ref.name"
_BOOTABLE: Final = ("containers.bootc", "ostree.bootable")
"""Labels with the value 1 on images that hold an operating system, not a disk."""


@dataclass(frozen=True)
class Descriptor:
    """A blob, by what it contains."""

    digest: str
    size: int
    os: str = ""
    architecture: str = ""
    tag: str = ""
    """In the index of a layout."""


@dataclass(frozen=True)
class Index:
    """One image for each platform."""

    images: tuple[Descriptor, ...]


@dataclass(frozen=True)
class Manifest:
    """One image: its layers from the lowest to the uppermost."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True)
class Config:
    """What of an image's configuration matters for a disk."""

    architecture: str
    labels: Mapping[str, str]
    """For the claim: see `labels`."""


def parsed(document: bytes, name: str) -> Index | Manifest:
    """What a manifest says. Raises UnsupportedImage."""
    said = _object(document, f"the manifest of {name}")
    if isinstance(said.get("manifests"), list):
        return Index(tuple(_descriptor(each, name) for each in said["manifests"][:MAX_LAYERS]))
    if said.get("schemaVersion") == 1:
        raise UnsupportedImage(
            f"{name} has a manifest of Docker's schema 1, which is not read any more. Push the image again"
        )
    layers = said.get("layers")
    if not isinstance(layers, list) or len(layers) > MAX_LAYERS:
        raise UnsupportedImage(
            f"the manifest of {name} is none of a container image: expected at most {MAX_LAYERS} layers"
        )
    return Manifest(_descriptor(said.get("config"), name), tuple(_descriptor(each, name) for each in layers))


def chosen(index: Index, tag: str, architecture: str, name: str) -> Descriptor:
    """The image of a tag, where images have some, and an architecture. Raises SourceMissing with those there are."""
    tagged = [image for image in index.images if image.tag]
    images = [image for image in tagged if image.tag == tag] if tag and tagged else index.images
    if not images:
        tags = ", ".join(sorted({image.tag for image in tagged}))
        raise SourceMissing(f"{name} has no image {tag!r}: expected one of {tags}")
    fitting = [image for image in images if image.architecture == architecture and image.os in ("linux", "")]
    if not fitting and len(images) == 1 and not images[0].architecture:
        return images[0]
    if not fitting:
        there = sorted({image.architecture for image in images} - {"", "unknown"})
        raise SourceMissing(
            f"{name} has no image for the architecture {architecture}: expected one of {', '.join(there) or 'none'}. "
            "Choose one of them (platform.architecture, --architecture)"
        )
    return fitting[0]


def config(document: bytes, name: str) -> Config:
    """What a configuration says. Raises UnsupportedImage for images that boot by themselves."""
    said = _object(document, f"the configuration of {name}")
    inner = said.get("config")
    inner = inner if isinstance(inner, dict) else {}
    marks = inner.get("Labels")
    marks = marks if isinstance(marks, dict) else {}
    if any(str(marks.get(mark)) == "1" for mark in _BOOTABLE):
        raise UnsupportedImage(
            f"{name} is a bootable container (bootc): it holds an operating system, not a disk. Make a disk of it "
            "first (bootc-image-builder), and put that below /disk"
        )
    env = inner.get("Env")
    return Config(str(said.get("architecture") or ""), labels(env if isinstance(env, list) else []))


def labels(env: list[Any]) -> dict[str, str]:
    """Labels from an image's environment: `INSTANCETYPE_KUBEVIRT_IO_DEFAULT_PREFERENCE=x` (cdi-wire: labels)."""
    found: dict[str, str] = {}
    for line in env:
        name, _, value = str(line).partition("=")
        before, mark, after = name.partition("KUBEVIRT_IO_")
        key = f"{before.replace('_', '.')}kubevirt.io/{after.replace('_', '-')}".lower()
        if mark and after and _KEY.fullmatch(key) and _VALUE.fullmatch(value) and len(found) < _MAX_LABELS:
            found[key] = value
    return found


def check_architecture(found: str, wanted: str) -> None:
    """Nothing where an image is for what was asked for, or does not say. Raises InvalidRequest in CDI's words."""
    if wanted and found and found != wanted:
        raise InvalidRequest(
            f'manifest image architecture: "{found}" doesn\'t match requested architecture: "{wanted}"'
        )


def _descriptor(said: Any, name: str) -> Descriptor:
    said = said if isinstance(said, dict) else {}
    digest, size = said.get("digest"), said.get("size")
    if not (isinstance(digest, str) and DIGEST.fullmatch(digest) and isinstance(size, int) and size >= 0):
        raise UnsupportedImage(
            f"the manifest of {name} names a blob that it does not describe: expected a digest and a size, found "
            f"{digest!r} and {size!r}"
        )
    platform = said.get("platform")
    platform = platform if isinstance(platform, dict) else {}
    notes = said.get("annotations")
    notes = notes if isinstance(notes, dict) else {}
    return Descriptor(
        digest,
        size,
        str(platform.get("os") or ""),
        str(platform.get("architecture") or ""),
        str(notes.get(_TAG) or ""),
    )


def _object(document: bytes, what: str) -> dict[str, Any]:
    try:
        said = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise UnsupportedImage(f"{what} cannot be read: expected JSON, found {document[:40]!r}") from error
    if not isinstance(said, dict):
        raise UnsupportedImage(f"{what} cannot be read: expected a JSON object")
    return said
