"""One claim that is to be a clone and what surrounds it, as they stand; and the claims that stand in for it. Pure."""

from dataclasses import dataclass
from typing import Final

from datavolume_controller import prime
from datavolume_controller.capability import capability
from datavolume_controller.cloneright import Verdict
from datavolume_controller.datasources import Named
from datavolume_controller.strategy import COPY, Case, Choice, choice
from diskyard.api import meta, quantity, snapshot
from diskyard.api import pod as pods
from diskyard.api.config import Config
from diskyard.api.meta import CLAIM, CLONE_SOURCE, SNAPSHOT, Key, Obj
from diskyard.api.names import cdi, clone, derived, kubernetes
from diskyard.api.pod import Facts
from diskyard.api.storage import BLOCK, Claim, Profile, StorageClass

HANDED_ON: Final = (cdi.SELECTED_NODE, cdi.RETAIN_POD, *cdi.POD_ANNOTATIONS)


@dataclass(frozen=True)
class World:
    """What is decided over."""

    obj: Obj
    claim: Claim
    wanted: Named | None
    """What its VolumeCloneSource names; None: there is none."""
    wishes: Obj
    """The spec of that VolumeCloneSource."""
    source_obj: Obj | None
    """The claim or snapshot that is cloned."""
    source: Claim | None
    """It, where it is a claim."""
    source_driver: str
    """What made its volume."""
    verdict: Verdict
    users: tuple[Key, ...]
    """Pods that write to the source."""
    storage_class: StorageClass | None
    profile: Profile
    snapshot_class: str
    config: Config
    stand_in_obj: Obj | None
    stand_in: Claim | None
    """The claim that is filled in its place, beside the source."""
    volume: Obj | None
    """The volume of that."""
    snapshot: Obj | None = None
    """Made for this clone."""
    content: Obj | None = None
    """Of the snapshot that is cloned."""
    restored_obj: Obj | None = None
    restored: Claim | None = None
    """The claim that is made from that, to be copied."""
    restoring_class: str = ""
    """The storage class of that; empty: none can restore it."""
    pod: Obj | None = None
    """What reads the source."""
    preparer: Obj | None = None
    """What has the stand-in bound and grown."""
    selected: str = ""
    """Why that class of snapshots."""

    @property
    def where(self) -> str:
        """The namespace of the source, and of all that is made for a while."""
        return self.claim.annotations.get(clone.NAMESPACE) or self.claim.key.namespace

    @property
    def read(self) -> Claim | None:
        """The claim that is copied: the source, or what is made from it."""
        return self.source or self.restored

    @property
    def source_size(self) -> int:
        """Bytes that a volume needs at least; 0: not known yet."""
        if self.source is not None:
            return self.source.capacity
        return snapshot.restore_size(self.source_obj or {})

    @property
    def facts(self) -> Facts:
        """What has happened to the pod that reads the source."""
        return pods.facts(self.pod or {})

    @property
    def filled(self) -> bool:
        """Whether the stand-in is said to hold everything."""
        return self.claim.pod_phase == "Succeeded"

    @property
    def strategy(self) -> Choice:
        """How it is cloned: what was settled when it began, else what speaks for it now."""
        held = self.claim.annotations.get(clone.TYPE, "")
        if held and any((self.stand_in, self.snapshot, self.restored)):
            return Choice(held or COPY)
        if self.storage_class is None or self.wanted is None:
            return Choice(COPY)
        return choice(
            Case(
                target=self.storage_class,
                target_block=self.claim.block,
                target_size=asked_size(self.claim),
                source_driver=self.source_driver,
                source_block=self.source_block,
                source_size=self.source_size or asked_size(self.claim),
                grows_disk=self._grows,
                of_snapshot=self.wanted.entry == "snapshot",
                override=self.config.clone_override,
                profile=self.profile.clone_strategy or capability(self.storage_class).clone_strategy,
                snapshot_class=self.snapshot_class,
            )
        )

    @property
    def _grows(self) -> bool:
        """Whether a disk in a file system is to become larger, on storage of our own: nobody would grow it there."""
        ours = self.source_driver == kubernetes.PROVISIONER
        content = self.claim.annotations.get(cdi.CONTENT_TYPE) or "kubevirt"
        if self.claim.block or self.source_block or not ours or content != "kubevirt" or not self.source_size:
            return False
        return asked_size(self.claim) > self.source_size

    @property
    def source_block(self) -> bool:
        """Whether the source is a block device."""
        if self.source is not None:
            return self.source.block
        said = snapshot.mode(self.source_obj or {}, self.content)
        return said == BLOCK if said else self.claim.block

    def as_populated(self) -> prime.World:
        """The same as claims with other populators are looked at: for what is said of their stand-ins."""
        return prime.World(
            obj=self.obj, claim=self.claim, kind=CLONE_SOURCE, source=None, prime_obj=self.stand_in_obj,
            prime=self.stand_in, volume=self.volume, storage_class=self.storage_class, figures=None, now="",
        )  # fmt: skip


def asked_size(held: Claim) -> int:
    """Bytes that a claim asks for."""
    return quantity.parse(held.request or 0)


def original(world: World) -> Obj:
    """The claim that is made from a snapshot, to be copied: as large as that, of its storage."""
    made_of = {"apiGroup": SNAPSHOT.group, "kind": SNAPSHOT.kind, "name": meta.name(world.source_obj or {})}
    labels = {cdi.APP_LABEL: cdi.APP, cdi.NO_BACKUP_LABEL: "true", clone.OWNED_BY: world.claim.uid}
    return {
        "apiVersion": CLAIM.api_version,
        "kind": CLAIM.kind,
        "metadata": {
            "name": derived.clone_original(world.claim.uid),
            "namespace": world.where,
            "labels": labels,
            "annotations": {clone.EVENTS_SOURCE: str(world.claim.key), cdi.IMMEDIATE_BINDING: ""},
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "volumeMode": BLOCK if world.source_block else "Filesystem",
            "storageClassName": world.restoring_class,
            "resources": {"requests": {"storage": quantity.canonical(world.source_size)}},
            "dataSource": made_of,
        },
    }


def stand_in(world: World, data_source: Obj | None = None) -> Obj:
    """The claim that is filled beside the source: the same room, or what a copy by storage needs at least.

    Its volume changes hands in the end.
    """
    spec, target = meta.spec(world.obj), world.claim
    if data_source and world.source_size > asked_size(target):
        room = {"requests": {"storage": quantity.canonical(world.source_size)}}
        spec = {**spec, "resources": {**(spec.get("resources") or {}), **room}}
    preallocation = world.wishes.get("preallocation")
    asked = target.annotations.get(cdi.PREALLOCATION_REQUESTED, "false")
    handed_on = {key: target.annotations[key] for key in HANDED_ON if key in target.annotations}
    kept = {
        key: spec[key]
        for key in ("accessModes", "resources", "storageClassName", "volumeMode")
        if key in spec
    }
    return {
        "apiVersion": CLAIM.api_version,
        "kind": CLAIM.kind,
        "metadata": {
            "name": derived.clone_claim(target.uid),
            "namespace": world.where,
            "labels": {cdi.APP_LABEL: cdi.APP, cdi.NO_BACKUP_LABEL: "true", clone.OWNED_BY: target.uid},
            "annotations": {
                **handed_on,
                cdi.IMMEDIATE_BINDING: "",
                cdi.POPULATOR_KIND: CLONE_SOURCE.kind,
                cdi.CONTENT_TYPE: target.annotations.get(cdi.CONTENT_TYPE) or "kubevirt",
                cdi.PREALLOCATION_REQUESTED: asked if preallocation is None else str(preallocation).lower(),
                clone.EVENTS_SOURCE: str(target.key),
            },
        },
        "spec": {**kept, **({"dataSource": data_source} if data_source else {})},
    }
