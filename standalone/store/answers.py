"""What the server says when it cannot do what was asked: Kubernetes' words, which clients and people know. Pure."""

from collections.abc import Sequence

from diskyard.api import meta
from diskyard.api.meta import Kind, Obj
from diskyard.errors import AlreadyExists, BadRequest, Cause, Conflict, Forbidden, Invalid, NotFound


def not_found(kind: Kind, name: str) -> NotFound:
    """`pods "x" not found`."""
    return NotFound(f'{kind.resource} "{name}" not found', details=_details(kind, name))


def not_served(what: str = "") -> NotFound:
    """No such resource, or no such subresource; the details say which, as clients print only the sentence."""
    return NotFound(
        "the server could not find the requested resource", details={"name": what} if what else {}
    )


def already_exists(kind: Kind, name: str) -> AlreadyExists:
    """`pods "x" already exists`."""
    return AlreadyExists(f'{kind.resource} "{name}" already exists', details=_details(kind, name))


def ending(kind: Kind, name: str) -> AlreadyExists:
    """The name is free when what has it now is gone."""
    return AlreadyExists(
        f'object is being deleted: {kind.resource} "{name}" already exists', details=_details(kind, name)
    )


def modified(kind: Kind, name: str) -> Conflict:
    """The object has moved on since the caller read it."""
    return Conflict(
        f'Operation cannot be fulfilled on {kind.resource} "{name}": the object has been modified; '
        "please apply your changes to the latest version and try again",
        details=_details(kind, name),
    )


def changed(kind: Kind, obj: Obj, precondition: str, wanted: str, found: str) -> Conflict:
    """An object of that name is there, but not as the one who deletes it believes."""
    how = "deleted and then recreated" if precondition == "UID" else "modified"
    full = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    return Conflict(
        f'Operation cannot be fulfilled on {full} "{meta.name(obj)}": the {precondition} in the precondition '
        f"({wanted}) does not match the {precondition} in record ({found}). The object might have been {how}",
        details={**_details(kind, meta.name(obj)), "kind": kind.kind},
    )


def misnamed(found: str, wanted: str) -> BadRequest:
    """The body is an object of another name than the path's."""
    if not found:
        return BadRequest(
            f"the name of the object ({wanted} based on URL) was undeterminable: name must be provided"
        )
    return BadRequest(f"the name of the object ({found}) does not match the name on the URL ({wanted})")


def misplaced() -> BadRequest:
    """The body is an object of another namespace than the path's."""
    return BadRequest("the namespace of the provided object does not match the namespace sent on the request")


def another(kind: Kind, obj: Obj, uid: str) -> Conflict:
    """An object of that name is there, but not the one that the caller means."""
    return Conflict(
        f'Operation cannot be fulfilled on {kind.resource} "{meta.name(obj)}": Precondition failed: '
        f"UID in precondition: {uid}, UID in object meta: {meta.uid(obj)}",
        details=_details(kind, meta.name(obj)),
    )


def unversioned(kind: Kind, name: str) -> Invalid:
    """A custom object is replaced that does not say which of its states is meant."""
    cause = Cause("Invalid value: 0: must be specified for an update", "metadata.resourceVersion")
    text = f'{kind.resource} "{name}" is invalid: {cause.field}: {cause.message}'
    return Invalid(text, [cause], details=_details(kind, name))


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
    return {
        **({"name": name} if name else {}),
        **({"group": kind.group} if kind.group else {}),
        "kind": kind.plural,
    }
