"""Versions of a kind that differ in name only: stored in the kind's own, answered in the one asked for. Pure."""

from diskyard.api.meta import Kind, Obj


def api_version(kind: Kind, version: str) -> str:
    """`kubevirt.io/v1alpha3`: a version of a kind as objects name it."""
    return f"{kind.group}/{version}" if kind.group else version


def as_version(obj: Obj, api_version: str) -> Obj:
    """The object in another version."""
    return {**obj, "apiVersion": api_version}


def body_as_version(body: bytes, kind: Kind, version: str) -> bytes:
    """The same for an object as it is stored, whose first field is its apiVersion."""
    if version == kind.version:
        return body
    stored = f'{{"apiVersion":"{kind.api_version}"'.encode()
    return f'{{"apiVersion":"{api_version(kind, version)}"'.encode() + body.removeprefix(stored)
