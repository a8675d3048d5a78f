"""Tables as the server gives them, in aligned columns. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from diskyard.api.meta import Obj, namespace

GAP: Final = 3


@dataclass
class Columns:
    """Prints tables of one kind, the heading once; while watching, later rows keep to the widths so far."""

    wide: bool = False
    namespaces: bool = False
    prefix: str = ""
    """`datavolume.cdi.kubevirt.io/`, where several kinds are shown."""
    _widths: list[int] = field(default_factory=list)
    _shown: list[int] = field(default_factory=list)

    def lines(self, table: Obj) -> list[str]:
        """The table's rows, below their heading when it is the first table."""
        definitions: list[dict[str, Any]] = table.get("columnDefinitions") or []
        heading = []
        if definitions and not self._widths:
            self._shown = [n for n, d in enumerate(definitions) if self.wide or not d.get("priority")]
            heading = [
                (["NAMESPACE"] if self.namespaces else [])
                + [definitions[n]["name"].upper() for n in self._shown]
            ]
        rows = heading + [self._cells(row) for row in table.get("rows") or ()]
        self._widen(rows)
        return [
            "".join(cell.ljust(width + GAP) for cell, width in zip(row, self._widths, strict=False)).rstrip()
            for row in rows
        ]

    def _cells(self, row: dict[str, Any]) -> list[str]:
        cells = [_text(row["cells"][n]) for n in self._shown]
        cells[0] = self.prefix + cells[0]
        return ([namespace(row.get("object") or {})] if self.namespaces else []) + cells

    def _widen(self, rows: Iterable[list[str]]) -> None:
        for row in rows:
            self._widths += [0] * (len(row) - len(self._widths))
            self._widths = [max(width, len(cell)) for width, cell in zip(self._widths, row, strict=True)]


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    return str(cell).lower() if isinstance(cell, bool) else str(cell)
