"""What `get` prints: tables, names, YAML or JSON, once or for every change."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import click
import yaml

from cli.columns import Columns
from cli.manifest import title
from diskyard.api import meta
from diskyard.api.meta import Key, Kind, Obj
from diskyard.errors import Expired, InvalidRequest
from diskyard.kube.client import Selection
from diskyard.kube.http import HttpClient


@dataclass(frozen=True)
class View:
    """What to show, and how."""

    kinds: tuple[Kind, ...]
    name: str = ""
    namespace: str | None = None
    """None: all of them."""
    labels: str = ""
    output: str = ""
    """`wide`, `name`, `yaml` or `json`; empty: a table."""

    def selection(self, kind: Kind) -> Selection:
        """The objects of a kind that are meant."""
        fields = f"metadata.name={self.name}" if self.name else ""
        return Selection(self.namespace if kind.namespaced else None, self.labels, fields)

    @property
    def tabular(self) -> bool:
        """Whether rows are asked for."""
        return self.output in ("", "wide")


def show(client: HttpClient, view: View, *, watch: bool) -> None:
    """Print the objects; with `watch`, every change after that. Raises NotFound for a name that is not there."""
    if watch and len(view.kinds) > 1:
        raise InvalidRequest(
            "expected one kind with --watch, found several: watch each in a terminal of its own"
        )
    if view.name and view.namespace is None:
        raise InvalidRequest("expected a namespace beside a name: -A goes with lists")
    if view.tabular:
        _show_tables(client, view, watch=watch)
    else:
        _show_objects(client, view, watch=watch)


def _show_tables(client: HttpClient, view: View, *, watch: bool) -> None:
    shown = False
    for kind in view.kinds:
        columns = Columns(
            wide=view.output == "wide",
            namespaces=view.namespace is None and kind.namespaced,
            prefix=f"{title(kind)}/" if len(view.kinds) > 1 else "",
        )
        table = client.table(kind, _place(kind, view), view.name)
        if table.get("rows"):
            _print(([""] if shown else []) + columns.lines(table))
            shown = True
        if watch:
            _follow(client, kind, view, (columns, table))
    if not shown:
        _say_none(view)


def _follow(client: HttpClient, kind: Kind, view: View, begun: tuple[Columns, Obj]) -> None:
    """Print a row for every change after the table that has been printed."""
    columns, table = begun
    if not table.get("rows"):
        _say_none(view)
    for change in _changes(client, kind, view, table, tables=True):
        _print(columns.lines(change))


def _say_none(view: View) -> None:
    where = f"in {view.namespace} namespace" if view.namespace else "in any namespace"
    click.echo(f"No resources found {where}.", err=True)


def _show_objects(client: HttpClient, view: View, *, watch: bool) -> None:
    for kind in view.kinds if view.output == "name" or watch else ():
        found = _objects(client, view, kind)
        for obj in found:
            _print([_text(kind, obj, view.output)])
        if watch:
            listing = {"metadata": {"resourceVersion": max((_version(obj) for obj in found), default="0")}}
            for obj in _changes(client, kind, view, listing, tables=False):
                _print([_text(kind, obj, view.output)])
    if view.output != "name" and not watch:
        objs = [obj for kind in view.kinds for obj in _objects(client, view, kind)]
        single = len(objs) == 1 and bool(view.name)
        whole = objs[0] if single else {"apiVersion": "v1", "kind": "List", "items": objs}
        _print([_text(view.kinds[0], whole, view.output)])


def _objects(client: HttpClient, view: View, kind: Kind) -> list[Obj]:
    if view.name:
        return [client.get(kind, Key(view.name, (view.namespace or "") if kind.namespaced else ""))]
    return list(client.list(kind, view.selection(kind)).items)


def _changes(client: HttpClient, kind: Kind, view: View, begun: Obj, *, tables: bool) -> Iterator[Obj]:
    """What every change carries, from the list `begun` on, for as long as anyone wants to know."""
    since = str(meta.meta(begun).get("resourceVersion") or "0")
    watch = client.tables if tables else client.watch
    while True:
        try:
            for change in watch(kind, since, view.selection(kind)):
                since = _version_of(change.obj) or since
                if change.type != "BOOKMARK":
                    yield change.obj
        except Expired:
            since = client.list(kind, view.selection(kind)).resource_version


def _place(kind: Kind, view: View) -> Selection:
    return Selection(view.namespace if kind.namespaced else None, "" if view.name else view.labels)


def _version(obj: Obj) -> str:
    return str(meta.meta(obj).get("resourceVersion") or "")


def _version_of(change: Obj) -> str:
    """The resourceVersion that an object, or a Table of one row, stands for."""
    rows = change.get("rows")
    return _version(rows[0].get("object") or {}) if rows else _version(change)


def _text(kind: Kind, obj: Obj, output: str) -> str:
    if output == "name":
        return f"{title(kind)}/{meta.name(obj)}"
    if output == "json":
        return json.dumps(obj, indent=4)
    return yaml.safe_dump(obj, sort_keys=False, allow_unicode=True).rstrip()


def _print(lines: list[str]) -> None:
    for line in lines:
        click.echo(line)
