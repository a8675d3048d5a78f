"""A container's environment and command: values, references to fields, Secrets and ConfigMaps, `$(NAME)`."""

import base64
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from diskyard.api import meta, quantity
from diskyard.api.meta import CONFIG_MAP, SECRET, Key, Kind, Obj
from diskyard.errors import NotFound, Passing
from diskyard.kube.client import Client
from standalone.node.schedule import containers

Lookup = Callable[[Kind, Key], Mapping[str, bytes] | None]
"""The entries of a Secret or ConfigMap; None where there is none."""

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_.-][\w.-]*)\)")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


@dataclass(frozen=True)
class Reader:
    """Whose values are asked for, and where to read."""

    pod: Obj
    look: Lookup
    fields: Mapping[str, str] = field(default_factory=dict)
    """What is not in the pod's metadata: addresses."""
    capacity: Mapping[str, str] = field(default_factory=dict)
    """Of the node, for limits that are not set."""


class Missing(Passing):
    """Something that a pod refers to is not there (yet), or is not known to this node."""

    reason = "Missing"


def lookup(client: Client) -> Lookup:
    """How to read Secrets and ConfigMaps from that server."""

    def entries(kind: Kind, key: Key) -> Mapping[str, bytes] | None:
        try:
            obj = client.get(kind, key)
        except NotFound:
            return None
        encoded = obj.get("data" if kind == SECRET else "binaryData") or {}
        plain = obj.get("stringData" if kind == SECRET else "data") or {}
        found = {name: base64.b64decode(text) for name, text in encoded.items()}
        return found | {name: str(text).encode() for name, text in plain.items()}

    return entries


def environment(container: Obj, reader: Reader) -> dict[str, str]:
    """The variables that a container's spec says, in its order. Raises Missing."""
    env: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        prefix = str(source.get("prefix") or "")
        env |= {prefix + name: text for name, text in _all_of(source, reader.pod, reader.look)}
    for entry in container.get("env") or ():
        text = _value(entry, str(container.get("name")), reader, env)
        if text is not None:
            env[str(entry["name"])] = text
    return env


def command(container: Obj, env: Mapping[str, str]) -> tuple[str, ...]:
    """What to run, references expanded."""
    parts = (*(container.get("command") or ()), *(container.get("args") or ()))
    return tuple(expanded(str(part), env) for part in parts)


def expanded(text: str, env: Mapping[str, str]) -> str:
    """`$(NAME)` replaced where it is known; `$$` is one dollar."""
    return _REFERENCE.sub(
        lambda match: "$" if match[0] == "$$" else env.get(str(match[1]), match[0]),
        text,
    )


def value(path: str, reader: Reader) -> str:
    """What a fieldRef says. Raises Missing."""
    pod = reader.pod
    subscript = _SUBSCRIPT.fullmatch(path)
    if subscript:
        return str((meta.meta(pod).get(subscript[1]) or {}).get(subscript[2], ""))
    known = {
        "metadata.name": meta.name(pod),
        "metadata.namespace": meta.namespace(pod),
        "metadata.uid": meta.uid(pod),
        "metadata.labels": _lines(meta.labels(pod)),
        "metadata.annotations": _lines(meta.annotations(pod)),
        "spec.serviceAccountName": str(meta.spec(pod).get("serviceAccountName") or "default"),
        "spec.nodeName": str(meta.spec(pod).get("nodeName") or ""),
        **reader.fields,
    }
    if path not in known:
        raise Missing(f"fieldPath {path!r} is not supported: expected one of {', '.join(sorted(known))}")
    return known[path]


def resource(wanted: Mapping[str, Any], reader: Reader, own: str = "") -> str:
    """What a resourceFieldRef says: a request or a limit, in units of its divisor, rounded up. Raises Missing."""
    name = str(wanted.get("containerName") or own)
    found = next((each for each in containers(reader.pod) if each.get("name") == name), None)
    kind, _, what = str(wanted.get("resource") or "").partition(".")
    if found is None or kind not in ("limits", "requests") or not what:
        raise Missing(
            f"resourceFieldRef {json.dumps(dict(wanted))} names no container's limits.X or requests.X"
        )
    said = (found.get("resources") or {}).get(kind) or {}
    fallback = reader.capacity.get(what, "0") if kind == "limits" else "0"
    divisor = quantity.value(str(wanted.get("divisor") or "1")) or 1
    return str(math.ceil(quantity.value(said.get(what) or fallback) / divisor))


def _value(entry: Obj, container: str, reader: Reader, env: Mapping[str, str]) -> str | None:
    source: Mapping[str, Any] = entry.get("valueFrom") or {}
    if not source:
        return expanded(str(entry.get("value") or ""), env)
    if "fieldRef" in source:
        return value(str(source["fieldRef"].get("fieldPath")), reader)
    if "resourceFieldRef" in source:
        return resource(source["resourceFieldRef"], reader, container)
    for name, kind in (("secretKeyRef", SECRET), ("configMapKeyRef", CONFIG_MAP)):
        if name in source:
            return _entry(source[name], kind, reader.pod, reader.look)
    raise Missing(
        f"env {entry.get('name')!r} has a valueFrom that this node does not know: {', '.join(source)}"
    )


def _entry(ref: Mapping[str, Any], kind: Kind, pod: Obj, look: Lookup) -> str | None:
    name, key, optional = str(ref.get("name", "")), str(ref.get("key", "")), bool(ref.get("optional"))
    found = look(kind, Key(name, meta.namespace(pod)))
    if found is None and not optional:
        raise Missing(f'{kind.singular} "{name}" not found')
    if found is not None and key in found:
        return found[key].decode(errors="replace")
    if optional:
        return None
    raise Missing(f"couldn't find key {key} in {kind.kind} {meta.namespace(pod)}/{name}")


def _all_of(source: Mapping[str, Any], pod: Obj, look: Lookup) -> Iterator[tuple[str, str]]:
    for field_name, kind in (("configMapRef", CONFIG_MAP), ("secretRef", SECRET)):
        ref = source.get(field_name)
        if not ref:
            continue
        found = look(kind, Key(str(ref.get("name", "")), meta.namespace(pod)))
        if found is None and not ref.get("optional"):
            raise Missing(f'{kind.singular} "{ref.get("name", "")}" not found')
        yield from ((name, text.decode(errors="replace")) for name, text in (found or {}).items())


def _lines(pairs: Mapping[str, str]) -> str:
    entries: Sequence[str] = [f'{name}="{text}"' for name, text in sorted(pairs.items())]
    return "\n".join(entries)
