"""Label and field selectors as kubectl writes them: text -> a test of an object. Pure.

Grammar: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import CORE_KINDS, EVENT, NAMESPACE, NODE, POD, SECRET, SERVICE, Kind, Obj
from diskyard.errors import BadRequest
from standalone.store import rules

Matches = Callable[[Obj], bool]

MAX_LENGTH: Final = 16_384

_SET: Final = re.compile(r"([^\s!=,()]+)\s+(in|notin)\s*\(([^()]*)\)")
_EQUAL: Final = re.compile(r"([^\s!=,()]+)\s*(==|!=|=)\s*([^\s!=,()]*)")
_EXISTS: Final = re.compile(r"(!?)\s*([^\s!=,()]+)")
Reader = Callable[[Obj], object]


def _at(*path: str) -> Reader:
    def read(obj: Obj) -> object:
        value: object = obj
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    return read


_EVERY: Final[Mapping[str, Reader]] = {"metadata.name": meta.name, "metadata.namespace": meta.namespace}
_MORE: Final[Mapping[Kind, Mapping[str, Reader]]] = {
    POD: {
        name: _at(*name.split("."))
        for name in (
            "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
            "spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName",
        )
    },
    NODE: {"spec.unschedulable": _at("spec", "unschedulable")},
    NAMESPACE: {"name": meta.name, "status.phase": meta.phase},
    SECRET: {"type": _at("type")},
    SERVICE: {"spec.clusterIP": _at("spec", "clusterIP"), "spec.type": _at("spec", "type")},
    EVENT: {
        **{
            f"involvedObject.{name}": _at("involvedObject", name)
            for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
        },
        "reason": _at("reason"), "type": _at("type"), "reportingComponent": _at("reportingComponent"),
        "source": lambda obj: _at("source", "component")(obj) or obj.get("reportingComponent"),
    },
}  # fmt: skip
"""What else can be selected by, in Kubernetes' own kinds."""
_BOOLEANS: Final = ("spec.unschedulable", "spec.hostNetwork")


def everything(_: Obj) -> bool:
    """What no selector at all selects."""
    return True


def labels(text: str) -> Matches:
    """The objects whose labels fit. Raises BadRequest."""
    if not text.strip():
        return everything
    tests = [_requirement(part) for part in _parts(text)]
    return lambda obj: all(test(meta.labels(obj)) for test in tests)


def fields(text: str, kind: Kind, selectable: Sequence[str] = ()) -> Matches:
    """The objects whose fields fit; `selectable` are those that a definition names beside what every kind has.

    Raises BadRequest for fields that cannot be selected by.
    """
    if not text.strip():
        return everything
    known = {**_EVERY, **_MORE.get(kind, {}), **{name: _at(*name.split(".")) for name in selectable}}
    custom = kind not in CORE_KINDS
    tests = [_field(part.strip(), text, known, told=custom or kind in _MORE) for part in text.split(",")]
    return lambda obj: all(test(obj) for test in tests)


def _parts(text: str) -> list[str]:
    """The requirements between the commas that stand outside parentheses."""
    if len(text) > MAX_LENGTH:
        raise BadRequest(f"a label selector of {len(text)} characters; at most {MAX_LENGTH} are read")
    return [part.strip() for part in re.split(r",(?![^()]*\))", text)]


def _key(key: str) -> None:
    """Look at a label's name. Raises BadRequest."""
    for told in rules.unqualified(key):
        raise BadRequest(f'unable to parse requirement: <nil>: Invalid value: "{key[:200]}": {told}')


def _requirement(part: str) -> Callable[[Mapping[str, str]], bool]:
    if match := _SET.fullmatch(part):
        key, operator, listed = match.groups()
        _key(key)
        values = {value.strip() for value in listed.split(",")}
        if operator == "in":
            return lambda found: found.get(key) in values
        return lambda found: found.get(key) not in values
    if match := _EQUAL.fullmatch(part):
        key, operator, value = match.groups()
        _key(key)
        if operator == "!=":
            return lambda found: found.get(key) != value
        return lambda found: found.get(key) == value
    if match := _EXISTS.fullmatch(part):
        absent, key = match.groups()
        _key(key)
        return lambda found: (key in found) is not bool(absent)
    raise BadRequest(
        f"unable to parse requirement: {part[:200]!r} is not key=value, key!=value, key in (a,b) or key"
    )


def _field(part: str, text: str, known: Mapping[str, Reader], *, told: bool) -> Matches:
    match = re.fullmatch(r"([^=!]+)(==|!=|=)(.*)", part)
    if not match:
        raise BadRequest(f"invalid selector: {text[:200]!r}; can't understand {part[:200]!r}")
    name, operator, value = match.groups()
    if name not in known:
        kept = ", ".join(f'"{one}"' for one in _EVERY)
        said = f'"{name[:200]}" is not a known field selector: only {kept}'
        raise BadRequest(f"field label not supported: {name[:200]}" if told else said)
    read, wanted = known[name], operator != "!="
    return lambda obj: (_text(read(obj), name) == value) is wanted


def _text(found: object, name: str) -> str:
    """A field's value as selectors say it."""
    if isinstance(found, bool) or name in _BOOLEANS:
        return "true" if found else "false"
    return "" if found is None else str(found)
