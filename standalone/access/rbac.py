"""Rules of roles: what one allows, and what one covers of another. Pure.

As Kubernetes decides it (`pkg/apis/rbac/v1/evaluation_helpers.go`, `pkg/registry/rbac/validation`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from diskyard.api.meta import Obj

ANY: Final = "*"
_FIELDS: Final = (
    ("APIGroups", "groups"), ("Resources", "resources"), ("NonResourceURLs", "urls"), ("ResourceNames", "names"),
    ("Verbs", "verbs"),
)  # fmt: skip


@dataclass(frozen=True)
class Question:
    """One thing that someone wants to do: to a resource, or (with `path`) to a path that is none."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def combined(self) -> str:
        """`pods/log`."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True)
class Rule:
    """One rule of a role."""

    verbs: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()

    def allows(self, question: Question) -> bool:
        """Whether it says yes."""
        if not _has(self.verbs, question.verb):
            return False
        if question.path:
            return _reaches(self.urls, question.path)
        return (
            _has(self.groups, question.group)
            and _names(self.resources, question.combined)
            and (not self.names or question.name in self.names)
        )

    def covers(self, other: "Rule") -> bool:
        """Whether all that the other allows is allowed by this one alone."""
        return (
            all(_has(self.verbs, verb) for verb in other.verbs)
            and all(_has(self.groups, group) for group in other.groups)
            and all(_names(self.resources, resource) for resource in other.resources)
            and all(_reaches(self.urls, url) for url in other.urls)
            and (not self.names or (bool(other.names) and set(other.names) <= set(self.names)))
        )

    def wire(self) -> Obj:
        """The rule as it stands in a role."""
        said = {
            "verbs": self.verbs, "apiGroups": self.groups, "resources": self.resources,
            "resourceNames": self.names, "nonResourceURLs": self.urls,
        }  # fmt: skip
        return {field: list(values) for field, values in said.items() if values}

    def __str__(self) -> str:
        parts = ((name, getattr(self, field)) for name, field in _FIELDS)
        said = ", ".join(f"{name}:{quoted(values)}" for name, values in parts if values)
        return f"{{{said}}}"


EVERYTHING: Final = (Rule((ANY,), (ANY,), (ANY,)), Rule((ANY,), urls=(ANY,)))


def rules(role: Obj) -> tuple[Rule, ...]:
    """The rules of a role."""
    return tuple(
        Rule(
            *(
                tuple(map(str, one.get(field) or ()))
                for field in ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs")
            )
        )
        for one in role.get("rules") or ()
    )


def missing(held: Sequence[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """What is wanted and not held, in as few rules as say it."""
    lacking = (atom for rule in wanted for atom in _atoms(rule) if not any(one.covers(atom) for one in held))
    verbs: dict[Rule, list[str]] = {}
    for atom in lacking:
        about = Rule((), atom.groups, atom.resources, atom.names, atom.urls)
        known = verbs.setdefault(about, [])
        known.extend(verb for verb in atom.verbs if verb not in known)
    return [Rule(tuple(said), r.groups, r.resources, r.names, r.urls) for r, said in verbs.items()]


def quoted(values: Iterable[str]) -> str:
    """A list of strings as Go prints it: `["a" "b"]`."""
    said = " ".join(f'"{value}"' for value in values)
    return f"[{said}]"


def _atoms(rule: Rule) -> Iterator[Rule]:
    for group, resource, verb in product(rule.groups, rule.resources, rule.verbs):
        for name in rule.names or (None,):
            yield Rule((verb,), (group,), (resource,), (name,) if name is not None else ())
    for url, verb in product(rule.urls, rule.verbs):
        yield Rule((verb,), urls=(url,))


def _has(said: tuple[str, ...], wanted: str) -> bool:
    return ANY in said or wanted in said


def _names(said: tuple[str, ...], resource: str) -> bool:
    if _has(said, resource):
        return True
    _, slash, subresource = resource.partition("/")
    return bool(slash) and f"*/{subresource}" in said


def _reaches(said: tuple[str, ...], path: str) -> bool:
    return any(one in (ANY, path) or (one.endswith(ANY) and path.startswith(one[:-1])) for one in said)
