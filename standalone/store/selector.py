"""Label and field selectors as kubectl writes them: text -> a test of an object. Pure.

Grammar: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import Obj
from diskyard.errors import BadRequest
from standalone.store import rules

Matches = Callable[[Obj], bool]

MAX_LENGTH: Final = 16_384

_SET: Final = re.compile(r"([^\s!=,()]+)\s+(in|notin)\s*\(([^()]*)\)")
_EQUAL: Final = re.compile(r"([^\s!=,()]+)\s*(==|!=|=)\s*([^\s!=,()]*)")
_EXISTS: Final = re.compile(r"(!?)\s*([^\s!=,()]+)")
_FIELDS: Final[Mapping[str, Callable[[Obj], object]]] = {
    "metadata.name": meta.name,
    "metadata.namespace": meta.namespace,
    "spec.nodeName": lambda obj: meta.spec(obj).get("nodeName"),
    "spec.restartPolicy": lambda obj: meta.spec(obj).get("restartPolicy"),
    "spec.serviceAccountName": lambda obj: meta.spec(obj).get("serviceAccountName"),
    "status.phase": meta.phase,
    "status.podIP": lambda obj: meta.status(obj).get("podIP"),
    "type": lambda obj: obj.get("type"),
    "reason": lambda obj: obj.get("reason"),
    "reportingComponent": lambda obj: obj.get("reportingComponent"),
    "source": lambda obj: (obj.get("source") or {}).get("component"),
}


_INVOLVED: Final = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


def everything(_: Obj) -> bool:
    """What no selector at all selects."""
    return True


def labels(text: str) -> Matches:
    """The objects whose labels fit. Raises BadRequest."""
    if not text.strip():
        return everything
    tests = [_requirement(part) for part in _parts(text)]
    return lambda obj: all(test(meta.labels(obj)) for test in tests)


def fields(text: str) -> Matches:
    """The objects whose fields fit. Raises BadRequest for fields that cannot be selected by."""
    if not text.strip():
        return everything
    tests = [_field(part.strip()) for part in text.split(",")]
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


def _field(part: str) -> Matches:
    match = re.fullmatch(r"([^=!]+)(==|!=|=)(.*)", part)
    if not match:
        raise BadRequest(f"invalid selector: {part[:200]!r}; can't understand it: expected field=value")
    name, operator, value = match.groups()
    read = _reader(name)
    wanted = operator != "!="
    return lambda obj: (str(read(obj) or "") == value) is wanted


def _reader(name: str) -> Callable[[Obj], object]:
    if name in _FIELDS:
        return _FIELDS[name]
    parent, _, field = name.partition(".")
    if parent == "involvedObject" and field in _INVOLVED:
        return lambda obj: (obj.get(parent) or {}).get(field)
    raise BadRequest(f"field label not supported: {name[:200]}")
