"""Worlds as decisions need them, with only what a test says made explicit."""

from typing import Any

from datavolume_controller import imports
from datavolume_controller.claim import Storage
from datavolume_controller.world import World
from diskyard.api import meta
from diskyard.api.config import Config
from diskyard.api.datavolume import datavolume
from diskyard.api.meta import DATA_VOLUME, Obj
from diskyard.api.names import cdi
from diskyard.api.progress import Figures
from diskyard.api.storage import Claim, StorageClass, claim
from tests import builders

NOW = "2026-11-21T12:00:00Z"
LOCAL = StorageClass("local", "diskyard.io/local", default=True)
WAITING = StorageClass("local-wait", "diskyard.io/local", waits=True)
STORAGE = Storage((LOCAL, WAITING))
GATED = Config(gates=frozenset({cdi.WAIT_GATE}))


def a_claim(
    phase: str = "Bound", storage_class: str = "local", owner: Obj | None = None, **said: str | None
) -> Obj:
    """A claim as the store has it; `said` are annotations by the names' names: POD_PHASE="Running"."""
    obj = builders.stored(builders.claim("disk", storageClassName=storage_class), uid="claim-uid")
    annotations = {getattr(cdi, name): text for name, text in said.items()}
    obj["metadata"]["annotations"] = {cdi.IMPORT_SOURCE: "http", **annotations}
    if owner:
        obj["metadata"]["ownerReferences"] = [meta.owner_reference(DATA_VOLUME, owner)]
        obj["metadata"]["annotations"][cdi.CREATED_FOR] = meta.uid(owner)
    obj["status"] = {"phase": phase}
    return obj


def dv_world(claim_obj: Obj | None = None, dv: Obj | None = None, **fields: Any) -> World:
    """A DataVolume and its claim; the claim gets the DataVolume as its owner unless it has one."""
    obj = dv or builders.stored(builders.data_volume("disk"), uid="dv-uid")
    found: Claim | None = claim(claim_obj) if claim_obj else None
    given: dict[str, Any] = {
        "storage": STORAGE,
        "config": GATED,
        "figures": None,
        "now": NOW,
        **fields,
    }
    return World(obj=obj, dv=datavolume(obj), claim_obj=claim_obj, claim=found, **given)


def owned(phase: str = "Bound", storage_class: str = "local", **said: str | None) -> World:
    """A DataVolume with a claim of its own."""
    dv = builders.stored(builders.data_volume("disk"), uid="dv-uid")
    return dv_world(a_claim(phase, storage_class, dv, **said), dv)


def percent(number: float) -> Figures:
    """Figures that only say how far."""
    return Figures(percent=number)


def import_world(claim_obj: Obj, pod: Obj | None = None, **fields: Any) -> imports.World:
    """A claim and its importer."""
    given: dict[str, Any] = {"config": GATED, "users": (), "now": NOW, **fields}
    return imports.World(obj=claim_obj, claim=claim(claim_obj), pod=pod, **given)
