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
    spec = meta.spec(obj)
    source = spec.get("source")
    if source is None:
        source = _behind(client, spec.get("sourceRef"), meta.namespace(obj))
    for kind in (CLAIM_SOURCE, SNAPSHOT_SOURCE):
        found = (source or {}).get(kind)
        if isinstance(found, dict) and not _permitted(may, user, kind, found, meta.namespace(obj)):
            message = f"User {user.name} has insufficient permissions in clone source namespace {found['namespace']}"
            return (Cause(message, "spec.source.PVC.namespace"),)
    return ()


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


def _permitted(may: May, user: User, kind: str, source: Mapping[str, Any], namespace: str) -> bool:
    name, where = str(source.get("name") or ""), str(source.get("namespace") or namespace)
    if where == namespace or not name:
        return True
    if may(user, Access("create", DATA_VOLUME.group, DATA_VOLUME.plural, where, name, "source")):
        return True
    if not may(user, Access("create", POD.group, POD.plural, where)):
        return False
    # Of a snapshot a claim has to be made as well; CDI asks for `pvcs`, which only a wildcard grants.
    return kind == CLAIM_SOURCE or may(user, Access("create", "", "pvcs", where))
