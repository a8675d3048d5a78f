"""What lies in volumes that are made of objects: Secrets, ConfigMaps, a pod's fields, tokens, or several of these."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, SECRET, Key, Kind
from standalone.node import environment
from standalone.node.environment import Missing, Reader

KINDS: Final = ("secret", "configMap", "downwardAPI", "projected")
DEFAULT_MODE: Final = 0o644
_HOUR: Final = 3600


@dataclass(frozen=True)
class File:
    """A file in a volume."""

    text: bytes
    mode: int


@dataclass(frozen=True)
class Token:
    """A file that holds a token of the pod's ServiceAccount: made when it is needed, and again before it ends."""

    path: str
    audience: str
    seconds: int
    mode: int


@dataclass(frozen=True)
class Content:
    """All of a volume's files."""

    files: Mapping[str, File] = field(default_factory=dict, repr=False)
    tokens: tuple[Token, ...] = ()


def content(source: str, said: Mapping[str, Any], reader: Reader) -> Content:
    """What a volume of that kind holds. Raises Missing."""
    mode = int(said.get("defaultMode") or DEFAULT_MODE)
    files: dict[str, File] = {}
    tokens = []
    for each in _parts(source, said, reader, mode):
        if isinstance(each, Token):
            tokens.append(each)
        else:
            files[each[0]] = each[1]
    return Content(files, tuple(tokens))


Part = Token | tuple[str, File]


def _parts(source: str, said: Mapping[str, Any], reader: Reader, mode: int) -> Iterator[Part]:
    if source == "projected":
        for part in said.get("sources") or ():
            for inner, more in part.items():
                yield from _parts(inner, more or {}, reader, mode)
    elif source == "downwardAPI":
        for item in said.get("items") or ():
            yield str(item["path"]), File(_field(item, reader).encode(), int(item.get("mode") or mode))
    elif source in ("secret", "configMap"):
        yield from _entries(SECRET if source == "secret" else CONFIG_MAP, said, reader, mode)
    elif source == "serviceAccountToken":
        seconds = int(said.get("expirationSeconds") or _HOUR)
        yield Token(str(said.get("path") or "token"), str(said.get("audience") or ""), seconds, mode)
    else:
        raise Missing(
            f"a projected volume of {source} is not supported: this node has secret, configMap, downwardAPI and "
            "serviceAccountToken"
        )


def _entries(kind: Kind, said: Mapping[str, Any], reader: Reader, mode: int) -> Iterator[Part]:
    name = str(said.get("secretName") or said.get("name") or "")
    found = reader.look(kind, Key(name, meta.namespace(reader.pod)))
    if found is None:
        if said.get("optional"):
            return
        raise Missing(f'{kind.singular} "{name}" not found')
    items = said.get("items")
    if not items:
        yield from ((key, File(text, mode)) for key, text in found.items())
        return
    for item in items:
        if item["key"] in found:
            path = str(item.get("path") or item["key"])
            yield path, File(found[item["key"]], int(item.get("mode") or mode))
        elif not said.get("optional"):
            raise Missing(f"references non-existent {kind.singular} key: {item['key']}")


def _field(item: Mapping[str, Any], reader: Reader) -> str:
    wanted = item.get("resourceFieldRef")
    if wanted:
        return environment.resource(wanted, reader)
    path = str((item.get("fieldRef") or {}).get("fieldPath", ""))
    return environment.value(path, reader)
