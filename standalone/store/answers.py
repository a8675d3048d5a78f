"""What the server says when it cannot do what was asked: Kubernetes' words, which clients and people know. Pure."""

from collections.abc import Sequence

from diskyard.api import meta
from diskyard.api.meta import Kind, Obj
from diskyard.errors import AlreadyExists, BadRequest, Cause, Conflict, Forbidden, Invalid, NotFound


def not_found(kind: Kind, name: str) -> NotFound:
    """`pods "x" not found`."""
    return NotFound(f'{kind.resource} "{name}" not found', details=_details(kind, name))


def not_served(what: str) -> NotFound:
    """No such resource, or no such subresource; the details say which, as clients print only the sentence."""
    return NotFound("the server could not find the requested resource", details={"name": what})


def already_exists(kind: Kind, name: str) -> AlreadyExists:
    """`pods "x" already exists`."""
    return AlreadyExists(f'{kind.resource} "{name}" already exists', details=_details(kind, name))


def modified(kind: Kind, name: str) -> Conflict:
    """The object has moved on since the caller read it."""
    return Conflict(
        f'Operation cannot be fulfilled on {kind.resource} "{name}": the object has been modified; '
        "please apply your changes to the latest version and try again",
        details=_details(kind, name),
    )


def another(kind: Kind, obj: Obj, uid: str) -> Conflict:
    """An object of that name is there, but not the one that the caller means."""
    return Conflict(
        f'Operation cannot be fulfilled on {kind.resource} "{meta.name(obj)}": Precondition failed: '
        f"UID in precondition: {uid}, UID in object meta: {meta.uid(obj)}",
        details=_details(kind, meta.name(obj)),
    )


def terminating(kind: Kind, name: str, namespace: str) -> Forbidden:
    """The namespace is going away and takes nothing in."""
    return Forbidden(
        f'{kind.resource} "{name}" is forbidden: unable to create new content in namespace {namespace} '
        "because it is being terminated",
        [Cause(f"namespace {namespace} is being terminated", "metadata.namespace", "NamespaceTerminating")],
        details=_details(kind, name),
    )


def forbidden(kind: Kind, name: str, why: str) -> Forbidden:
    """`pods "x" is forbidden: exceeded quota: ...`."""
    return Forbidden(f'{kind.resource} "{name}" is forbidden: {why}', details=_details(kind, name))


def invalid(kind: Kind, name: str, causes: Sequence[Cause]) -> Invalid:
    """`DataVolume.cdi.kubevirt.io "x" is invalid: spec.source: Required value`."""
    said = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes]
    text = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    full = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    details = {**_details(kind, name), "kind": kind.kind}
    return Invalid(f'{full} "{name}" is invalid: {text}', causes, details=details)


def unlike(kind: Kind, found: object) -> BadRequest:
    """The body is an object of another kind, or none at all."""
    return BadRequest(f"the object provided is unrecognized (must be of type {kind.kind}): found {found}")


def _details(kind: Kind, name: str) -> dict[str, str]:
    return {"name": name, **({"group": kind.group} if kind.group else {}), "kind": kind.plural}
