"""Where the contents of a claim come from: what `spec.source` says, one value for each kind that we serve."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

SOURCES: Final = (
    "http", "s3", "gcs", "registry", "pvc", "snapshot", "upload", "blank", "imageio", "vddk",
)  # fmt: skip
"""Every source that a DataVolume can name."""


@dataclass(frozen=True)
class Blank:
    """Nothing: an empty disk."""


@dataclass(frozen=True)
class Upload:
    """Whatever a client sends."""


@dataclass(frozen=True)
class Http:
    """An image on a web server."""

    url: str
    secret: str = ""
    certificates: str = ""
    """A ConfigMap."""
    extra_headers: tuple[str, ...] = ()
    secret_extra_headers: tuple[str, ...] = ()
    """Secrets, each value a header line."""
    checksum: str = ""
    insecure: bool = False


@dataclass(frozen=True)
class S3:
    """An object in S3."""

    url: str
    secret: str = ""
    certificates: str = ""


@dataclass(frozen=True)
class Gcs:
    """An object in Google Cloud Storage."""

    url: str
    secret: str = ""


@dataclass(frozen=True)
class Registry:
    """A disk in a container image."""

    url: str
    """Empty where it is an image stream."""
    method: str = ""
    """`pod`, `node`, or empty: `pod`."""
    architecture: str = ""
    secret: str = ""
    certificates: str = ""


@dataclass(frozen=True)
class Imageio:
    """A disk in oVirt."""

    url: str
    disk_id: str
    secret: str
    certificates: str = ""
    insecure: bool = False


@dataclass(frozen=True)
class Vddk:
    """A disk of a machine in vSphere."""

    url: str
    uuid: str
    backing_file: str
    thumbprint: str
    secret: str
    certificates: str = ""
    image: str = ""
    """Of the container that brings VMware's library."""
    extra_args: str = ""
    """A ConfigMap with options for that library."""


Origin = Blank | Upload | Http | S3 | Gcs | Registry | Imageio | Vddk


def origin(source: Any) -> Origin | None:
    """What a `spec.source` says; None where it names none, several, or one that is cloned."""
    found = present(source)
    read = _READ.get(found[0]) if len(found) == 1 else None
    return read(source[found[0]]) if read else None


def present(source: Any) -> tuple[str, ...]:
    """Which sources a `spec.source` names."""
    if not isinstance(source, dict):
        return ()
    return tuple(each for each in SOURCES if source.get(each) is not None)


def _blank(_: Mapping[str, Any]) -> Blank:
    return Blank()


def _upload(_: Mapping[str, Any]) -> Upload:
    return Upload()


def _http(said: Mapping[str, Any]) -> Http:
    return Http(
        url=_text(said, "url"),
        secret=_text(said, "secretRef"),
        certificates=_text(said, "certConfigMap"),
        extra_headers=tuple(said.get("extraHeaders") or ()),
        secret_extra_headers=tuple(said.get("secretExtraHeaders") or ()),
        checksum=_text(said, "checksum"),
        insecure=said.get("insecureSkipVerify") is True,
    )


def _s3(said: Mapping[str, Any]) -> S3:
    return S3(_text(said, "url"), _text(said, "secretRef"), _text(said, "certConfigMap"))


def _gcs(said: Mapping[str, Any]) -> Gcs:
    return Gcs(_text(said, "url"), _text(said, "secretRef"))


def _registry(said: Mapping[str, Any]) -> Registry:
    return Registry(
        url=_text(said, "url"),
        method=_text(said, "pullMethod"),
        architecture=_text(said.get("platform") or {}, "architecture"),
        secret=_text(said, "secretRef"),
        certificates=_text(said, "certConfigMap"),
    )


def _imageio(said: Mapping[str, Any]) -> Imageio:
    return Imageio(
        url=_text(said, "url"),
        disk_id=_text(said, "diskId"),
        secret=_text(said, "secretRef"),
        certificates=_text(said, "certConfigMap"),
        insecure=said.get("insecureSkipVerify") is True,
    )


def _vddk(said: Mapping[str, Any]) -> Vddk:
    return Vddk(
        url=_text(said, "url"),
        uuid=_text(said, "uuid"),
        backing_file=_text(said, "backingFile"),
        thumbprint=_text(said, "thumbprint"),
        secret=_text(said, "secretRef"),
        certificates=_text(said, "certConfigMap"),
        image=_text(said, "initImageURL"),
        extra_args=_text(said, "extraArgs"),
    )


def _text(said: Mapping[str, Any], name: str) -> str:
    return str(said.get(name) or "")


_READ: Final[Mapping[str, Callable[[Mapping[str, Any]], Origin]]] = {
    "blank": _blank,
    "upload": _upload,
    "http": _http,
    "s3": _s3,
    "gcs": _gcs,
    "registry": _registry,
    "imageio": _imageio,
    "vddk": _vddk,
}
