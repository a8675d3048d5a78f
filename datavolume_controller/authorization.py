"""Who may clone what: the source of a DataVolume is looked up, and its reader asked for (cdi-wire: authorization)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from diskyard.api import meta
from diskyard.api.meta import DATA_SOURCE, DATA_VOLUME, POD, Key, Obj
from diskyard.api.names import cdi
from diskyard.api.user import User
from diskyard.errors import BadRequest, Cause
from diskyard.kube.access import Access, May
from diskyard.kube.client import Client
from diskyard.kube.reconcile import find

CLAIM_SOURCE: Final = "pvc"
SNAPSHOT_SOURCE: Final = "snapshot"
_DEPTH: Final = 2
"""DataSources in a row: one may refer to another, and no further."""


def refusals(client: Client, may: May, user: User, obj: Obj) -> Sequence[Cause]:
    """What speaks against that user's cloning. Raises BadRequest for a DataSource that is not there."""
    said = meta.annotations(obj)
    if cdi.PRE_POPULATED in said or cdi.CHECK_STATIC in said:
        return ()
    found = cloned(client, obj)
    if found is None or not found[1].name:
        return ()
    entry, source = found
    if may_read(may, user, entry, source, meta.namespace(obj)):
        return ()
    message = f"User {user.name} has insufficient permissions in clone source namespace {source.namespace}"
    return (Cause(message, "spec.source.PVC.namespace"),)


def cloned(client: Client, obj: Obj) -> tuple[str, Key] | None:
    """What a DataVolume is to be cloned from: `pvc` or `snapshot`, and which. Raises BadRequest as `refusals`."""
    spec, namespace = meta.spec(obj), meta.namespace(obj)
    source = spec.get("source")
    if source is None:
        source = _behind(client, spec.get("sourceRef"), namespace)
    for entry in (CLAIM_SOURCE, SNAPSHOT_SOURCE):
        found = (source or {}).get(entry)
        if isinstance(found, dict):
            return entry, Key(str(found.get("name") or ""), str(found.get("namespace") or namespace))
    return None


def _behind(client: Client, ref: Any, namespace: str) -> Mapping[str, Any] | None:
    """The source that a DataSource stands for; what is malformed is the rules' to refuse."""
    for _ in range(_DEPTH):
        if not isinstance(ref, dict) or ref.get("kind", DATA_SOURCE.kind) != DATA_SOURCE.kind:
            return None
        if not ref.get("name"):
            return None
        key = Key(str(ref["name"]), str(ref.get("namespace") or namespace))
        found = find(client, DATA_SOURCE, key)
        if found is None:
            raise BadRequest(f'{DATA_SOURCE.resource} "{key.name}" not found')
        source = meta.status(found).get("source") or meta.spec(found).get("source") or {}
        if "dataSource" not in source:
            leaf: Mapping[str, Any] = source
            return leaf
        ref, namespace = source["dataSource"], key.namespace
    return None


def may_read(may: May, user: User, kind: str, source: Key, namespace: str) -> bool:
    """Whether that user may clone a claim or a snapshot into that namespace."""
    where = source.namespace
    if where == namespace:
        return True
    if may(user, Access("create", DATA_VOLUME.group, DATA_VOLUME.plural, where, source.name, "source")):
        return True
    if not may(user, Access("create", POD.group, POD.plural, where)):
        return False
    # Of a snapshot a claim has to be made as well; CDI asks for `pvcs`, which only a wildcard grants.
    return kind == CLAIM_SOURCE or may(user, Access("create", "", "pvcs", where))
