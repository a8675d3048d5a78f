"""DataSources: each says which claim or snapshot it stands for in the end, and whether that can be used."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from diskyard.api import meta, snapshot
from diskyard.api.condition import timed
from diskyard.api.datavolume import Phase
from diskyard.api.meta import CLAIM, DATA_SOURCE, DATA_VOLUME, SNAPSHOT, Condition, Key, Kind, Obj
from diskyard.api.names import cdi
from diskyard.kube.client import Client
from diskyard.kube.interest import Interest
from diskyard.kube.reconcile import NOTHING, Action, Merge, Plan, find

SOURCES: Final[Mapping[str, Kind]] = {"pvc": CLAIM, "snapshot": SNAPSHOT, "dataSource": DATA_SOURCE}


@dataclass(frozen=True)
class Named:
    """What a `spec.source` names."""

    entry: str
    """`pvc`, `snapshot` or `dataSource`."""
    key: Key

    @property
    def wire(self) -> Obj:
        """As it stands in a spec."""
        return {self.entry: {"namespace": self.key.namespace, "name": self.key.name}}


@dataclass(frozen=True)
class World:
    """One DataSource and what it leads to."""

    obj: Obj
    now: str
    named: Named | None
    """What it names itself."""
    through: Obj | None = None
    """The DataSource that it names."""
    leaf: Named | None = None
    """The claim or snapshot behind everything."""
    found: Obj | None = None
    """That claim or snapshot."""
    dv: Obj | None = None
    """The DataVolume that fills that claim."""


class DataSources:
    """Writes `status.source` and the condition Ready."""

    kind: Kind = DATA_SOURCE

    def __init__(self) -> None:
        self._interest = Interest()
        self.wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {
            CLAIM: self._interest.roots(CLAIM),
            DATA_VOLUME: self._interest.roots(CLAIM),
            DATA_SOURCE: self._interest.roots(DATA_SOURCE),
            SNAPSHOT: self._interest.roots(SNAPSHOT),
        }

    def gather(self, client: Client, key: Key) -> World | None:
        """The DataSource and what it leads to; one may refer to another, and no further."""
        obj = find(client, DATA_SOURCE, key)
        said = named(meta.spec(obj or {}).get("source"), key.namespace)
        through = find(client, DATA_SOURCE, said.key) if said and said.entry == "dataSource" else None
        leaf = named(meta.spec(through).get("source"), key.namespace) if through else said
        leaf = leaf if leaf and leaf.entry != "dataSource" else None
        self._interest.note(key, {(SOURCES[each.entry], each.key) for each in (said, leaf) if each and obj})
        if obj is None:
            return None
        return World(
            obj=obj,
            now=meta.timestamp(datetime.now(UTC)),
            named=said,
            through=through,
            leaf=leaf,
            found=find(client, SOURCES[leaf.entry], leaf.key) if leaf else None,
            dv=find(client, DATA_VOLUME, leaf.key) if leaf and leaf.entry == "pvc" else None,
        )

    def decide(self, world: World) -> Plan:
        """Labels and status, where they say something else."""
        if meta.deleting(world.obj):
            return NOTHING
        key, held, said = meta.key(world.obj), meta.status(world.obj), status(world)
        actions: list[Action] = []
        labels = _labels(world)
        if labels:
            actions.append(Merge(DATA_SOURCE, key, {"metadata": {"labels": labels}}))
        if held != said:
            other = {entry: None for entry in held.get("source") or {} if entry not in said["source"]}
            patch = {**said, "source": {**other, **said["source"]}}
            actions.append(Merge(DATA_SOURCE, key, {"status": patch}))
        return Plan(tuple(actions))


def named(source: Any, namespace: str) -> Named | None:
    """What a `spec.source` names; None where it names nothing."""
    said = source if isinstance(source, dict) else {}
    entry = next((each for each in SOURCES if isinstance(said.get(each), dict)), None)
    if entry is None:
        return None
    where = said[entry]
    return Named(entry, Key(str(where.get("name") or ""), str(where.get("namespace") or namespace)))


def status(world: World) -> Obj:
    """The whole status. Another source is another readiness: its times are new, whatever was said of the one before."""
    source = world.leaf.wire if world.leaf else {}
    same = meta.status(world.obj).get("source") == source
    conditions = timed(world.obj if same else {}, [ready(world)], world.now, heartbeats=True)
    return {"source": source, "conditions": conditions}


def ready(world: World) -> Condition:
    """Whether DataVolumes can use it: the first rule that speaks."""
    reason, message = next((said for rule in RULES if (said := rule(world))), ("", ""))
    if not reason:
        return Condition("Ready", "True", "Ready", "DataSource is ready to be consumed")
    return Condition("Ready", "False", reason, message)


Reason = tuple[str, str] | None


def _nothing(world: World) -> Reason:
    return ("NoSource", "No source PVC set") if world.named is None else None


def _reference(world: World) -> Reason:
    said, key = world.named, meta.key(world.obj)
    if said is None or said.entry != "dataSource":
        return None
    if said.key == key:
        return "SelfReference", "DataSource points to itself"
    if said.key.namespace != key.namespace:
        message = (
            f"DataSource {said.key} is in another namespace: a DataSource refers to those of its own only"
        )
        return "CrossNamespaceReference", message
    if world.through is None:
        return "NotFound", f'{DATA_SOURCE.resource} "{said.key.name}" not found'
    if named(meta.spec(world.through).get("source"), key.namespace) is None:
        return "NoSource", "No source PVC set"
    if world.leaf is None:
        message = f"DataSource {said.key} refers to another DataSource itself: only one step is followed"
        return "MaxReferenceDepthReached", message
    return None


def _importing(world: World) -> Reason:
    phase = meta.phase(world.dv) if world.dv else Phase.SUCCEEDED
    if phase == Phase.SUCCEEDED:
        return None
    return phase or Phase.PENDING, f"Import DataVolume phase {phase or Phase.PENDING}"


def _missing(world: World) -> Reason:
    if world.found is not None:
        return None
    return "NotFound", f"{'Snapshot' if _of_snapshot(world) else 'PVC'} not found"


def _unready(world: World) -> Reason:
    unready = _of_snapshot(world) and not snapshot.ready(world.found)
    return ("SnapshotNotReady", "Snapshot phase is not ready") if unready else None


RULES: Final[tuple[Callable[[World], Reason], ...]] = (_nothing, _reference, _importing, _missing, _unready)


def _of_snapshot(world: World) -> bool:
    return world.leaf is not None and world.leaf.entry == "snapshot"


def _labels(world: World) -> dict[str, str]:
    """What the disk says of itself; labels that the DataSource has stay."""
    held = meta.labels(world.obj)
    found = meta.labels(world.found or {})
    return {key: text for key, text in found.items() if cdi.PASSED_LABEL.fullmatch(key) and key not in held}
