"""Files of objects: YAML or JSON, several documents in one, `-` for standard input."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from cli.kinds import of_manifest
from diskyard.api import meta
from diskyard.api.meta import Key, Kind, Obj
from diskyard.errors import InvalidRequest

LARGEST: Final = 16 << 20
SUFFIXES: Final = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class Wanted:
    """One object of a file, and what it is called."""

    kind: Kind
    obj: Obj

    @property
    def key(self) -> Key:
        """Where the object goes."""
        return meta.key(self.obj)

    @property
    def title(self) -> str:
        """`datavolume.cdi.kubevirt.io/fedora`, as kubectl says it."""
        return f"{title(self.kind)}/{meta.name(self.obj)}"


def title(kind: Kind) -> str:
    """`datavolume.cdi.kubevirt.io`, `pod`."""
    return f"{kind.singular}.{kind.group}" if kind.group else kind.singular


def wanted(source: str, namespace: str) -> list[Wanted]:
    """The objects of a file, a folder or standard input. Raises InvalidRequest, which names file and document."""
    return [
        _wanted(document, namespace, f"{name}, document {number}")
        for name, text in _texts(source)
        for number, document in _documents(name, text)
    ]


def _texts(source: str) -> Iterator[tuple[str, str]]:
    try:
        if source == "-":
            yield "standard input", sys.stdin.read(LARGEST)
            return
        path = Path(source)
        folder = path.is_dir()
        for file in sorted(f for f in path.iterdir() if f.suffix in SUFFIXES) if folder else [path]:
            yield str(file), file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"cannot read {source}: {getattr(error, 'strerror', None) or error}") from error


def _documents(name: str, text: str) -> Iterator[tuple[int, Any]]:
    try:
        for number, document in enumerate(yaml.safe_load_all(text), 1):
            if isinstance(document, dict) and str(document.get("kind", "")).endswith("List"):
                yield from ((number, item) for item in document.get("items") or ())
            elif document is not None:
                yield number, document
    except yaml.YAMLError as error:
        raise InvalidRequest(f"{name} is not YAML: {_where(error)}") from error


def _where(error: yaml.YAMLError) -> str:
    """`line 5, column 2: expected <block end>, but found ...`."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    mark = error.problem_mark
    return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"


def _wanted(document: Any, namespace: str, where: str) -> Wanted:
    if not isinstance(document, dict):
        raise InvalidRequest(
            f"{where}: expected an object with apiVersion, kind and metadata, found {document!r:.60}"
        )
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    for field, value in (
        ("apiVersion", document.get("apiVersion")),
        ("kind", document.get("kind")),
        ("metadata.name", metadata.get("name")),
    ):
        if not isinstance(value, str) or not value:
            raise InvalidRequest(f"{where}: {field} is missing; every object needs one")
    try:
        kind = of_manifest(document["apiVersion"], document["kind"])
    except InvalidRequest as error:
        raise InvalidRequest(f"{where}: {error}") from error
    placed = {"namespace": metadata.get("namespace") or namespace} if kind.namespaced else {}
    return Wanted(kind, {**document, "metadata": {**metadata, **placed}})
