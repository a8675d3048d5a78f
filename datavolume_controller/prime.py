"""The claim that is filled in place of one with a populator: what it is, and what is said of it there. Pure."""

from dataclasses import dataclass

from datavolume_controller import attempt
from datavolume_controller.asked import PASSED, asked
from datavolume_controller.stages import advanced, begun
from diskyard.api import meta
from diskyard.api.datavolume import stages
from diskyard.api.meta import CLAIM, Kind, Obj
from diskyard.api.names import cdi, derived
from diskyard.api.origin import Origin, Upload, origin
from diskyard.api.progress import Figures
from diskyard.api.storage import Claim, StorageClass
from diskyard.kube.reconcile import Tell

_REFLECTED = (
    cdi.POD_PHASE, cdi.POD_READY, cdi.PREALLOCATION_APPLIED, cdi.CHECKPOINT_CURRENT, cdi.CHECKPOINTS_DONE,
    cdi.RUNNING_CONDITION, cdi.RUNNING_REASON, cdi.RUNNING_MESSAGE, cdi.POD_SCHEDULABLE, cdi.IMPORT_FATAL,
    cdi.BOUND_CONDITION, cdi.BOUND_REASON, cdi.BOUND_MESSAGE,
)  # fmt: skip
"""Said of the claim exactly as of the one in its place; what goes there goes here."""
_GATHERED = (cdi.PREALLOCATION_REQUESTED, cdi.VDDK_VERSION, cdi.VDDK_HOST, cdi.ATTEMPTS, cdi.POD_RESTARTS)
"""Said of the claim once it is said of the one in its place, and kept."""
_HANDED_ON = (
    cdi.SELECTED_NODE, cdi.RETAIN_POD, cdi.VDDK_EXTRA_ARGS, cdi.VDDK_IMAGE, *cdi.POD_ANNOTATIONS, *PASSED,
)  # fmt: skip


@dataclass(frozen=True)
class World:
    """One claim with a populator, and what surrounds it, as they stand."""

    obj: Obj
    claim: Claim
    kind: Kind
    """Of its populator."""
    source: Obj | None
    """What says how to fill it."""
    prime_obj: Obj | None
    prime: Claim | None
    volume: Obj | None
    """The volume of the prime."""
    storage_class: StorageClass | None
    figures: Figures | None
    now: str

    @property
    def complete(self) -> bool:
        """Whether the prime is filled, and has the volume that is to be handed over."""
        return self.prime is not None and self.prime.filled and bool(self.prime.volume)

    @property
    def advanced(self) -> dict[str, str | None]:
        """What the prime is to say instead where one of its stages is done, or others are asked for."""
        if self.prime is None or self.source is None:
            return {}
        return advanced(stages(meta.spec(self.source)), self.prime.annotations)


def prime(world: World, source: Obj) -> Obj:
    """The claim to be filled: the same room, bound at once, and asking for what the source says."""
    target, spec = world.claim, meta.spec(world.obj)
    wished = meta.spec(source)
    handed_on = {key: target.annotations[key] for key in _HANDED_ON if key in target.annotations}
    said = target.annotations
    preallocation = wished.get("preallocation")
    wanted = said.get(cdi.PREALLOCATION_REQUESTED, "false") if preallocation is None else str(preallocation)
    return {
        "apiVersion": CLAIM.api_version,
        "kind": CLAIM.kind,
        "metadata": {
            "name": derived.prime(target.uid),
            "namespace": target.key.namespace,
            "labels": {cdi.APP_LABEL: cdi.APP, cdi.NO_BACKUP_LABEL: "true"},
            "annotations": {
                **handed_on,
                cdi.IMMEDIATE_BINDING: "",
                cdi.POPULATOR_KIND: world.kind.kind,
                cdi.CONTENT_TYPE: str(wished.get("contentType") or "kubevirt"),
                cdi.PREALLOCATION_REQUESTED: wanted.lower(),
                **_wish(source),
                **begun(stages(wished)),
            },
            "ownerReferences": [meta.owner_reference(CLAIM, world.obj)],
        },
        "spec": {
            key: spec[key]
            for key in ("accessModes", "resources", "storageClassName", "volumeMode")
            if key in spec
        },
    }


def origin_of(source: Obj | None) -> Origin | None:
    """Where the contents come from; None where that is not said."""
    if source is None:
        return None
    if source.get("kind") == "VolumeUploadSource":
        return Upload()
    return origin(meta.spec(source).get("source"))


def reflected(world: World) -> dict[str, str | None]:
    """What the claim says of the one in its place."""
    if world.prime is None:
        return {}
    said = world.prime.annotations
    kept = {key: said[key] for key in _GATHERED if key in said}
    if _number(kept.get(cdi.POD_RESTARTS)) < _number(world.claim.annotations.get(cdi.POD_RESTARTS)):
        kept.pop(cdi.POD_RESTARTS, None)
    return {key: said.get(key) for key in _REFLECTED} | {**kept, cdi.PRIME: world.prime.key.name}


def troubles(world: World) -> tuple[Tell, ...]:
    """Tries that failed and are not told of the claim yet."""
    if world.prime is None:
        return ()
    known = {each.run for each in attempt.attempts(world.claim.annotations.get(cdi.ATTEMPTS, ""))}
    tries = attempt.attempts(world.prime.annotations.get(cdi.ATTEMPTS, ""))
    return tuple(
        Tell(CLAIM, world.obj, "ErrImportFailed", f"[{world.prime.key.name}] : {each.told}", warning=True)
        for each in tries
        if each.failed and each.run not in known
    )


def _wish(source: Obj) -> dict[str, str]:
    found = origin_of(source)
    return asked(found) if found else {}


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
