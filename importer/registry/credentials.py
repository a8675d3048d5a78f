"""Pull secrets: what `docker login`, `podman login` and a `.dockerconfigjson` keep, looked up for one image."""

import base64
import binascii
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from diskyard.errors import AccessDenied, InvalidRequest
from importer.registry.reference import HUB, Reference

_MAX_FILE: Final = 1 << 20
_HUB_HOSTS: Final = ("docker.io", "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True)
class Login:
    """Who we are to one registry."""

    user: str
    password: str = field(repr=False)


def login(path: Path, image: Reference) -> Login | None:
    """What a file has for an image's registry: the entry that names most of it (containers-auth.json(5)).

    Raises InvalidRequest where the file is none of its kind, AccessDenied where it cannot be read.
    """
    entries = _entries(path)
    names = _names(image)
    for name in names:
        for key, entry in entries.items():
            if _plain(key) == name and (found := _login(entry, path, key)) is not None:
                return found
    return None


def _names(image: Reference) -> list[str]:
    """What an entry for this image may be called, the closest first."""
    hosts = _HUB_HOSTS if image.host == HUB else (image.host,)
    parts = image.path.split("/")
    return ["/".join((host, *parts[:length])) for length in range(len(parts), -1, -1) for host in hosts]


def _plain(key: str) -> str:
    """`https://index.docker.io/v1/` is `index.docker.io`."""
    name = key.partition("://")[2] if "://" in key else key
    name = name.rstrip("/")
    return name.removesuffix("/v1").removesuffix("/v2")


def _entries(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise AccessDenied(
            f"cannot read the registry credentials in {path}: {error.strerror}. Correct the path or the mode"
        ) from error
    try:
        said = json.loads(text) if len(text) <= _MAX_FILE else None
    except (ValueError, RecursionError):
        said = None
    entries = said.get("auths", {}) if isinstance(said, dict) else None
    if not isinstance(entries, dict):
        raise InvalidRequest(
            f"expected registry credentials in {path} (JSON with `auths`, as docker login writes it), found something "
            "else: correct the pull secret"
        )
    return entries


def _login(entry: Any, path: Path, key: str) -> Login | None:
    if not isinstance(entry, dict):
        return None
    if isinstance(entry.get("username"), str) and isinstance(entry.get("password"), str):
        return Login(entry["username"], entry["password"])
    packed = entry.get("auth")
    if not packed:
        return None
    try:
        user, colon, password = base64.b64decode(str(packed), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        raise InvalidRequest(
            f"the entry {key!r} in {path} cannot be read: expected `auth` to be the base64 of USER:PASSWORD"
        )
    return Login(user, password.rstrip("\0"))
