"""The seam for a kind's own rules: what changes an object before it is stored, and what refuses it."""

from collections.abc import Sequence
from typing import Protocol

from diskyard.api import meta
from diskyard.api.meta import Kind, Obj
from diskyard.api.names import cdi, derived
from diskyard.api.user import User
from diskyard.errors import Cause, Invalid


class Admission(Protocol):
    """Asked at every create, and at every change of an object that is not only to its status.

    `user` is who asks over the wire; None: the yard itself, whose controllers need no leave.
    """

    def mutate(self, kind: Kind, obj: Obj, old: Obj | None, user: User | None) -> Obj:
        """The object as it is to be stored; `old` as it is stored (None: it is created)."""

    def validate(self, kind: Kind, obj: Obj, old: Obj | None, user: User | None) -> Sequence[Cause]:
        """What is wrong with it; nothing: it is stored. May raise Forbidden or NotFound about what it names."""

    def advise(self, kind: Kind, obj: Obj) -> Sequence[str]:
        """What who writes such an object is told, though it is stored."""


def denied(kind: Kind, obj: Obj, causes: Sequence[Cause]) -> Invalid:
    """The answer for an object that the rules refuse, worded as that of a webhook."""
    webhook = derived.webhook(kind.kind, kind.group)
    details = {"name": meta.name(obj), "kind": kind.plural, **({"group": kind.group} if kind.group else {})}
    # CDI's webhooks put a space before each cause: clients know their messages so.
    said = (
        "".join(f" {c.message}" for c in causes)
        if kind.group == cdi.GROUP
        else "; ".join(c.message for c in causes)
    )
    return Invalid(f'admission webhook "{webhook}" denied the request: {said}', causes, details=details)
