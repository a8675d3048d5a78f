"""A container's environment and command: values, references to fields, Secrets and ConfigMaps, `$(NAME)`."""

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, SECRET, Key, Kind, Obj
from diskyard.errors import NotFound, Passing
from diskyard.kube.client import Client

Lookup = Callable[[Kind, Key], Mapping[str, bytes] | None]
"""The entries of a Secret or ConfigMap; None where there is none."""

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_.-][\w.-]*)\)")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


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


def environment(container: Obj, pod: Obj, fields: Mapping[str, str], look: Lookup) -> dict[str, str]:
    """The variables that a container's spec says, in its order. Raises Missing."""
    env: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        prefix = str(source.get("prefix") or "")
        env |= {prefix + name: text for name, text in _all_of(source, pod, look)}
    for entry in container.get("env") or ():
        text = _value(entry, pod, fields, look, env)
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


def field(path: str, pod: Obj, fields: Mapping[str, str]) -> str:
    """What a fieldRef says; `fields` knows what is not in the pod's metadata. Raises Missing."""
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
        **fields,
    }
    if path not in known:
        raise Missing(f"fieldPath {path!r} is not supported: expected one of {', '.join(sorted(known))}")
    return known[path]


def _value(
    entry: Obj, pod: Obj, fields: Mapping[str, str], look: Lookup, env: Mapping[str, str]
) -> str | None:
    source: Mapping[str, Any] = entry.get("valueFrom") or {}
    if not source:
        return expanded(str(entry.get("value") or ""), env)
    if "fieldRef" in source:
        return field(str(source["fieldRef"].get("fieldPath")), pod, fields)
    for name, kind in (("secretKeyRef", SECRET), ("configMapKeyRef", CONFIG_MAP)):
        if name in source:
            return _entry(source[name], kind, pod, look)
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
