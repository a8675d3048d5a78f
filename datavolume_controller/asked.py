"""A source -> the annotations by which a claim asks to be filled: CDI's own interface between its controllers. Pure."""

import hashlib
from collections.abc import Iterable, Mapping

from diskyard.api.names import cdi
from diskyard.api.origin import S3, Blank, Gcs, Http, Imageio, Origin, Registry, Upload, Vddk

SAID_BY_SOURCE = frozenset(
    {
        cdi.IMPORT_SOURCE, cdi.IMPORT_ENDPOINT, cdi.IMPORT_SECRET, cdi.IMPORT_CERTIFICATES, cdi.IMPORT_CHECKSUM,
        cdi.IMPORT_INSECURE, cdi.IMPORT_DISK_ID, cdi.IMPORT_UUID, cdi.IMPORT_BACKING_FILE, cdi.IMPORT_THUMBPRINT,
        cdi.IMAGE_STREAM, cdi.REGISTRY_METHOD, cdi.REGISTRY_ARCHITECTURE, cdi.UPLOAD_TARGET,
    }
)  # fmt: skip
"""Every annotation that follows from a source alone, beside the numbered headers: VMware's library can be named by
others too."""
PASSED = (cdi.CHECKSUM, cdi.CHECKSUM_URL, cdi.SIGNATURE_URL, cdi.KEYRING, cdi.IMAGE_STORE, cdi.RETRY)
"""Ours, from a DataVolume or a claim on to whatever is filled in its place."""

_STAGE = (cdi.CHECKPOINT_CURRENT, cdi.CHECKPOINT_PREVIOUS)


def asked(origin: Origin) -> dict[str, str]:
    """What a claim says that is to be filled from there; nothing is said of what is empty."""
    if isinstance(origin, Upload):
        return {cdi.UPLOAD_TARGET: ""}
    return {key: text for key, text in _said(origin).items() if text}


def corrected(held: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str | None]:
    """What to change in a claim's annotations so that it asks for `wanted`, whatever source it asked for before."""
    gone = {key: None for key in held if _from_source(key) and key not in wanted}
    return {**gone, **{key: text for key, text in wanted.items() if held.get(key) != text}}


def digest(said: Mapping[str, str]) -> str:
    """Of what a claim asks for, and which time: another one means another try, at once."""
    keys: Iterable[str] = sorted(key for key in said if _from_source(key) or key in PASSED or key in _STAGE)
    return hashlib.sha256("\0".join(f"{key}={said[key]}" for key in keys).encode()).hexdigest()[:12]


def _from_source(key: str) -> bool:
    return key in SAID_BY_SOURCE or key.startswith((cdi.EXTRA_HEADER, cdi.SECRET_EXTRA_HEADER))


def _said(origin: Origin) -> dict[str, str]:
    match origin:
        case Http() as http:
            return {
                **_place("http", http.url, http.secret, http.certificates),
                cdi.IMPORT_CHECKSUM: http.checksum,
                cdi.IMPORT_INSECURE: _flag(http.insecure),
                **{f"{cdi.EXTRA_HEADER}{n}": line for n, line in enumerate(http.extra_headers)},
                **{f"{cdi.SECRET_EXTRA_HEADER}{n}": name for n, name in enumerate(http.secret_extra_headers)},
            }
        case S3() as s3:
            return _place("s3", s3.url, s3.secret, s3.certificates)
        case Gcs() as gcs:
            return _place("gcs", gcs.url, gcs.secret)
        case Registry() as registry:
            return {
                **_place("registry", registry.url, registry.secret, registry.certificates),
                cdi.REGISTRY_METHOD: registry.method,
                cdi.REGISTRY_ARCHITECTURE: registry.architecture,
            }
        case Imageio() as imageio:
            return {
                **_place("imageio", imageio.url, imageio.secret, imageio.certificates),
                cdi.IMPORT_DISK_ID: imageio.disk_id,
                cdi.IMPORT_INSECURE: _flag(imageio.insecure),
            }
        case Vddk() as vddk:
            return {
                **_place("vddk", vddk.url, vddk.secret, vddk.certificates),
                cdi.IMPORT_UUID: vddk.uuid,
                cdi.IMPORT_BACKING_FILE: vddk.backing_file,
                cdi.IMPORT_THUMBPRINT: vddk.thumbprint,
                cdi.VDDK_IMAGE: vddk.image,
                cdi.VDDK_EXTRA_ARGS: vddk.extra_args,
            }
        case Blank() | Upload():
            return {cdi.IMPORT_SOURCE: "none"}


def _place(source: str, url: str, secret: str, certificates: str = "") -> dict[str, str]:
    return {
        cdi.IMPORT_SOURCE: source,
        cdi.IMPORT_ENDPOINT: url,
        cdi.IMPORT_SECRET: secret,
        cdi.IMPORT_CERTIFICATES: certificates,
    }


def _flag(truth: bool) -> str:
    return "true" if truth else ""
