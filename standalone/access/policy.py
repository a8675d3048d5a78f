"""Who may do what: roles and bindings, kept in memory by watches on the store, and asked.

A question is answered from what was acknowledged before it: the store tells its watches of a write before it tells the
writer. The administrator's group is answered without looking.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import orjson

from diskyard.api import meta
from diskyard.api.meta import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING, Key, Kind, Obj
from diskyard.api.user import User, account_name
from diskyard.errors import Expired, NotFound
from standalone.access.rbac import EVERYTHING, Question, Rule, rules
from standalone.store.objects import Objects
from standalone.store.rbac import ACCOUNT
from standalone.store.watch import Stream

_KINDS: Final = (ROLE, CLUSTER_ROLE, ROLE_BINDING, CLUSTER_ROLE_BINDING)
Subject = tuple[str, str]
"""`User` or `Group`, and its name: ServiceAccounts are users."""


@dataclass(frozen=True)
class Decision:
    """Whether, and why as the server words it."""

    allowed: bool
    reason: str = ""


@dataclass(frozen=True)
class _Binding:
    kind: Kind
    key: Key
    role: tuple[Kind, Key]
    subjects: dict[Subject, str]
    """How each is called in a reason."""

    def reason(self, subject: Subject) -> str:
        name = f"{self.key.name}/{self.key.namespace}" if self.key.namespace else self.key.name
        kind, role = self.role
        return (
            f'RBAC: allowed by {self.kind.kind} "{name}" of {kind.kind} "{role.name}" '
            f"to {self.subjects[subject]}"
        )


@dataclass(frozen=True)
class _Grant:
    binding: _Binding
    subject: Subject
    rules: tuple[Rule, ...] | None
    """None: there is no such role."""


class Policy:
    """The rules of the moment."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._lock = threading.Lock()
        self._forget()

    def decide(self, user: User, question: Question) -> Decision:
        """Whether that user may."""
        if user.master:
            return Decision(True)
        absent: list[str] = []
        with self._lock:
            for grant in self._grants(user, question.namespace):
                if grant.rules is None:
                    absent.append(_absent(grant.binding))
                elif any(rule.allows(question) for rule in grant.rules):
                    return Decision(True, grant.binding.reason(grant.subject))
        told = sorted(set(absent))
        said = ", ".join(told)
        return Decision(False, f"RBAC: [{said}]" if len(told) > 1 else f"RBAC: {said}" if said else "")

    def rules(self, user: User, namespace: str) -> tuple[Rule, ...]:
        """All that the user may do in a namespace (empty: in none), each rule once."""
        with self._lock:
            held = [rule for grant in self._grants(user, namespace) for rule in grant.rules or ()]
        return tuple(dict.fromkeys((*EVERYTHING, *held) if user.master else held))

    def role(self, binding: Obj) -> tuple[Rule, ...]:
        """The rules that a binding of either kind would grant. Raises NotFound."""
        kind, key = _role(binding)
        with self._lock:
            self._refresh()
            found = self._roles.get((kind, key))
        if found is None:
            raise NotFound(
                f'{kind.resource} "{key.name}" not found', details={"name": key.name, "kind": kind.plural}
            )
        return found

    def _grants(self, user: User, namespace: str) -> Iterator[_Grant]:
        self._refresh()
        subjects: list[Subject] = [("User", user.name), *(("Group", group) for group in user.groups)]
        for place in dict.fromkeys(("", namespace)):
            for subject in subjects:
                for binding in self._bound.get((place, subject), {}).values():
                    yield _Grant(binding, subject, self._roles.get(binding.role))

    def _forget(self) -> None:
        self._roles: dict[tuple[Kind, Key], tuple[Rule, ...]] = {}
        self._bindings: dict[tuple[Kind, Key], _Binding] = {}
        self._bound: dict[tuple[str, Subject], dict[tuple[Kind, Key], _Binding]] = {}
        self._streams: dict[Kind, Stream] = {kind: self._objects.stream(kind, "") for kind in _KINDS}

    def _refresh(self) -> None:
        """Take in what was written since the last time."""
        try:
            self._take()
        except Expired:
            for stream in self._streams.values():
                stream.close()
            self._forget()
            self._take()

    def _take(self) -> None:
        for kind, stream in self._streams.items():
            for sent in stream.take():
                obj: Obj = orjson.loads(sent.body)
                place = (kind, meta.key(obj))
                if kind in (ROLE, CLUSTER_ROLE):
                    self._roles.pop(place, None)
                    if sent.type != "DELETED":
                        self._roles[place] = rules(obj)
                else:
                    self._unbind(place)
                    if sent.type != "DELETED":
                        self._bind(place, _binding(kind, obj))

    def _bind(self, place: tuple[Kind, Key], binding: _Binding) -> None:
        self._bindings[place] = binding
        for subject in binding.subjects:
            self._bound.setdefault((binding.key.namespace, subject), {})[place] = binding

    def _unbind(self, place: tuple[Kind, Key]) -> None:
        binding = self._bindings.pop(place, None)
        for subject in binding.subjects if binding else ():
            with suppress(KeyError):
                where = (place[1].namespace, subject)
                del self._bound[where][place]
                if not self._bound[where]:
                    del self._bound[where]


def _binding(kind: Kind, obj: Obj) -> _Binding:
    return _Binding(kind, meta.key(obj), _role(obj), dict(_subjects(obj.get("subjects") or ())))


def _role(binding: Obj) -> tuple[Kind, Key]:
    ref = binding["roleRef"]
    if ref["kind"] == ROLE.kind:
        return ROLE, Key(str(ref["name"]), meta.namespace(binding))
    return CLUSTER_ROLE, Key(str(ref["name"]))


def _subjects(said: Iterable[Obj]) -> Iterator[tuple[Subject, str]]:
    for one in said:
        kind, name, namespace = str(one["kind"]), str(one["name"]), str(one.get("namespace") or "")
        if kind == ACCOUNT:
            yield ("User", account_name(namespace, name)), f'{kind} "{name}/{namespace}"'
        else:
            yield (kind, name), f'{kind} "{name}"'


def _absent(binding: _Binding) -> str:
    kind, key = binding.role
    return f'{kind.singular}.{kind.group} "{key.name}" not found'
