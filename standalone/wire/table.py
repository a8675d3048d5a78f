"""Tables, as `kubectl get` prints them. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from diskyard.api import meta
from diskyard.api.meta import Obj
from standalone.wire.jsonpath import found

Cell = Callable[[Obj], Any]
UNKNOWN = "<unknown>"
NONE = "<none>"


@dataclass(frozen=True)
class Column:
    """One column: its heading and what stands in it. `wide`: only with `-o wide`."""

    name: str
    cell: Cell
    type: str = "string"
    wide: bool = False
    description: str = ""

    def definition(self) -> dict[str, Any]:
        """The column as the Table announces it."""
        return {
            "name": self.name,
            "type": self.type,
            "format": "name" if self.name == "Name" else "",
            "description": self.description,
            "priority": int(self.wide),
        }


def age(then: Any, now: datetime | None = None) -> str:
    """How long ago that was, as kubectl says it: `42s`, `5m30s`, `3h`, `12d`."""
    if not isinstance(then, str) or not then:
        return UNKNOWN
    try:
        seconds = int(((now or datetime.now(UTC)) - meta.moment(then)).total_seconds())
    except (ValueError, TypeError):
        return UNKNOWN
    return duration(seconds)


def duration(seconds: int) -> str:
    """A length of time in the fewest letters, coarser the longer it is."""
    if seconds < -1:
        return "<invalid>"
    if seconds < 120:
        return f"{max(seconds, 0)}s"
    minutes, hours = seconds // 60, seconds // 3600
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 24 * 8:
        return _two(hours // 24, "d", hours % 24, "h")
    days = hours // 24
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def of_definition(columns: Iterable[Mapping[str, Any]]) -> tuple[Column, ...]:
    """The columns that a CRD asks for, behind the name."""
    asked = tuple(
        Column(
            str(c["name"]), _cell(c), str(c["type"]), c.get("priority", 0) > 0, str(c.get("description", ""))
        )
        for c in columns
    )
    return NAME, *(asked or (AGE,))


def table(columns: tuple[Column, ...], objs: Iterable[Obj], include: str = "Metadata") -> Obj:
    """The Table; `include` says what of each object goes along: None, Metadata or Object."""
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": [column.definition() for column in columns],
        "rows": [
            {"cells": [column.cell(obj) for column in columns], **_carried(obj, include)} for obj in objs
        ],
    }


def partial(obj: Obj, version: str = "v1") -> Obj:
    """The object's metadata alone."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": obj.get("metadata", {}),
    }


def _carried(obj: Obj, include: str) -> dict[str, Any]:
    if include == "None":
        return {}
    return {"object": obj if include == "Object" else partial(obj)}


def _two(large: int, unit: str, small: int, smaller: str) -> str:
    return f"{large}{unit}{small}{smaller}" if small else f"{large}{unit}"


def _cell(column: Mapping[str, Any]) -> Cell:
    path, kind = str(column["jsonPath"]), str(column["type"])

    def cell(obj: Obj) -> Any:
        values = found(path, obj)
        if not values or values[0] is None:
            return None
        if kind == "date":
            return age(values[0])
        if kind == "string":
            return " ".join(value if isinstance(value, str) else _text(value) for value in values)
        return values[0]

    return cell


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


NAME = Column("Name", meta.name, description="The object's name, unique in its namespace.")
AGE = Column(
    "Age", lambda obj: age(meta.meta(obj).get("creationTimestamp")), description="Time since creation."
)
