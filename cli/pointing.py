"""A DataSource that no cron keeps current: `capture` moves it, `rollback` moves it back, both say from where."""

from contextlib import suppress

from datavolume_controller.datasources import SOURCES, Named, named
from diskyard.api import meta
from diskyard.api.cron import standing_for
from diskyard.api.meta import DATA_SOURCE, Key, Obj
from diskyard.api.names import cdi
from diskyard.errors import Forbidden, InvalidRequest
from diskyard.kube.client import Client
from diskyard.kube.reconcile import Tell, find


def moved(client: Client, obj: Obj, now: Named, why: str) -> Named | None:
    """Have it stand for that, remember what it stood for, and tell both; the latter. Raises Conflict, ApiError."""
    before = named(meta.spec(obj).get("source"), meta.namespace(obj))
    text = f"{before.entry} {before.key}" if before else None
    version = meta.meta(obj).get("resourceVersion")
    metadata = {"resourceVersion": version, "annotations": {cdi.BEFORE: text}}
    client.patch(DATA_SOURCE, meta.key(obj), {"metadata": metadata, "spec": standing_for(now.key, now.entry)})
    came = f"from {text} " if text else ""
    told = Tell(DATA_SOURCE, obj, "Switched", f"{came}to {now.entry} {now.key} ({why})")
    with suppress(Forbidden):  # who may edit DataSources need not be one who may write events
        told.carry_out(client)
    return before


def gone_back(client: Client, obj: Obj, image: str | None = None) -> Named:
    """Have it stand for what it stood for before the last move; that. Raises InvalidRequest, Conflict, ApiError.

    `image`: nothing else than that.
    """
    entry, _, where = meta.annotations(obj).get(cdi.BEFORE, "").partition(" ")
    namespace, _, name = where.partition("/")
    before = Named(entry, Key(name, namespace))
    if entry not in SOURCES or not name:
        raise InvalidRequest(
            f"datasource {meta.name(obj)} is kept current by no DataImportCron, and no `diskyard capture` has moved "
            "it: nothing tells which images it had. Change its spec.source yourself"
        )
    if image not in (None, name):
        raise InvalidRequest(
            f"there is no image {image} to go back to: it stood for {entry} {before.key} before"
        )
    if find(client, SOURCES[entry], before.key) is None:
        raise InvalidRequest(
            f"datasource {meta.name(obj)} stood for {entry} {before.key} before, which is not there any more: "
            "capture another disk to it, or change its spec.source yourself"
        )
    moved(client, obj, before, "diskyard rollback")
    return before
