"""Claims that name one of our populators: another claim is filled in their place, and gives them its volume.

The other one (CDI calls it prime) is an ordinary claim to whatever fills it. What happens to it is said on the claim
that it stands for. Nothing is stored but in these objects: a crash anywhere is made good by looking again.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from datavolume_controller import importer, prime
from datavolume_controller.asked import PASSED, asked, corrected
from datavolume_controller.population import ours
from datavolume_controller.prime import World
from datavolume_controller.progress import PERIOD, Scraper, Target
from datavolume_controller.rebind import rebound
from diskyard.api import meta
from diskyard.api import pod as pods
from diskyard.api.meta import (
    CLAIM,
    IMPORT_SOURCE,
    POD,
    RESOURCE_QUOTA,
    STORAGE_CLASS,
    UPLOAD_SOURCE,
    VOLUME,
    Key,
    Kind,
    Obj,
)
from diskyard.api.names import cdi, derived, kubernetes
from diskyard.api.progress import COMPLETE, Figures, percentage
from diskyard.api.storage import Claim, claim, storage_class
from diskyard.kube.client import Client, Deletion
from diskyard.kube.interest import Interest
from diskyard.kube.reconcile import (
    NOTHING,
    Action,
    Create,
    Delete,
    Merge,
    Plan,
    Tell,
    find,
    nothing,
    owners,
    short,
)
from diskyard.kube.refusal import CreateOrExplain

_KINDS: Final = (IMPORT_SOURCE, UPLOAD_SOURCE)


class Populators:
    """Fills each claim that names a VolumeImportSource or a VolumeUploadSource."""

    kind: Kind = CLAIM

    def __init__(self, scraper: Scraper) -> None:
        self._scraper = scraper
        self._interest = Interest()
        self.wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {
            CLAIM: owners(CLAIM),
            **{kind: self._interest.roots(kind) for kind in (*_KINDS, STORAGE_CLASS)},
            RESOURCE_QUOTA: short,
            VOLUME: nothing,
            POD: nothing,
        }

    def gather(self, client: Client, key: Key) -> World | None:
        """The claim, what says how to fill it, the claim in its place and that one's volume."""
        obj = find(client, CLAIM, key)
        target = claim(obj) if obj else None
        kind = ours(target.populator) if target else None
        if obj is None or target is None or target.populator is None or kind not in _KINDS:
            self._interest.note(key, ())
            return None
        said_by = Key(target.populator.name, key.namespace)
        looked_at = ((kind, said_by), (STORAGE_CLASS, Key(target.storage_class)))
        self._interest.note(key, () if target.bound else looked_at)
        prime_obj = find(client, CLAIM, Key(derived.prime(target.uid), key.namespace))
        stand_in = claim(prime_obj) if prime_obj else None
        chosen = find(client, STORAGE_CLASS, Key(target.storage_class))
        return World(
            obj=obj,
            claim=target,
            kind=kind,
            source=find(client, kind, said_by),
            prime_obj=prime_obj,
            prime=stand_in,
            volume=find(client, VOLUME, Key(stand_in.volume)) if stand_in and stand_in.volume else None,
            storage_class=storage_class(chosen) if chosen else None,
            figures=self._figures(client, obj, stand_in),
            now=meta.timestamp(datetime.now(UTC)),
        )

    def decide(self, world: World) -> Plan:
        """What to do next."""
        return next((plan for rule in RULES if (plan := rule(world)) is not None), NOTHING)

    def _figures(self, client: Client, obj: Obj, stand_in: Claim | None) -> Figures | None:
        """How far it is, where there is no DataVolume to ask and to say so."""
        if stand_in is None or stand_in.pod_phase != "Running" or meta.controller_of(obj):
            return None
        pod = find(client, POD, Key(importer.pod_name(stand_in), stand_in.key.namespace))
        address = pods.facts(pod).ip if pod else ""
        if pod is None or not address:
            return None
        return self._scraper.figures(Target(address, importer.owner_uid(stand_in), meta.uid(pod)))


def _leaving(world: World) -> Plan | None:
    """The claim is to go: so is the one in its place."""
    if not world.claim.deleting:
        return None
    return Plan(_removed(world))


def _bound(world: World) -> Plan | None:
    """It has its volume: the claim that had it before is of no use any more."""
    if not world.claim.bound:
        return None
    if world.prime_obj is None:
        return NOTHING
    over = {cdi.PRIME: None} if world.kind == UPLOAD_SOURCE else {}
    said = _said(world, over)
    if world.claim.retained:
        message = "PVC Prime retained in Lost state for debugging purposes"
        return Plan((*said, Tell(CLAIM, world.obj, "RetainedPVCPrime", message))) if said else NOTHING
    return Plan((*said, *_removed(world)))


def _given(world: World) -> Plan | None:
    """It names the volume that it is to have: what lies there is taken as it is."""
    return NOTHING if world.claim.volume and world.prime_obj is None else None


def _unpopulable(world: World) -> Plan | None:
    """Populators work only where a driver makes the volume of a class that is named."""
    if not world.claim.storage_class:
        message = "spec.storageClassName is empty: a claim that a populator fills has to name its class"
    elif world.storage_class is None:
        message = f'storageclass.storage.k8s.io "{world.claim.storage_class}" not found'
    elif world.storage_class.provisioner.startswith(kubernetes.IN_TREE):
        message = (
            f"StorageClass {world.storage_class.name} is of the provisioner {world.storage_class.provisioner}, whose "
            "claims no populator can fill: name a class of a CSI driver"
        )
    else:
        return None
    return _told(world, "ErrClaimNotValid", message)


def _no_source(world: World) -> Plan | None:
    """Nothing says what is to be in it."""
    wanted = world.claim.populator
    if world.prime is not None or wanted is None:
        return None
    if world.source is None:
        where = Key(wanted.name, world.claim.key.namespace)
        return _told(world, "ErrResourceDoesntExist", f"{wanted.kind} {where} doesn't exist; waits for it")
    other = meta.spec(world.source).get("targetClaim")
    if other and other != world.claim.key.name:
        message = f"{wanted.kind} {wanted.name} is for the claim {other} only (spec.targetClaim)"
        return _told(world, "ErrWrongTarget", message)
    return None


def _waits(world: World) -> Plan | None:
    """The class waits for the first consumer, and the scheduler has not chosen its node."""
    waits = world.storage_class is not None and world.storage_class.waits
    held_back = waits and not world.claim.node and not world.claim.immediate
    return NOTHING if world.prime is None and held_back else None


def _absent(world: World) -> Plan | None:
    """Nobody stands in its place: name and make the claim that does."""
    if world.prime is not None or world.source is None:
        return None
    name = derived.prime(world.claim.uid)

    def refused(reason: str, message: str) -> Obj:
        said = {cdi.BOUND_CONDITION: "false", cdi.BOUND_REASON: reason, cdi.BOUND_MESSAGE: message}
        return {"metadata": {"annotations": said}}

    create = CreateOrExplain(Create(CLAIM, prime.prime(world, world.source)), CLAIM, world.obj, refused)
    told = Tell(CLAIM, world.obj, "CreatedPVCPrimeSuccessfully", "PVC Prime created successfully")
    return Plan((told, *_said(world, {cdi.PRIME: name}), create))


def _complete(world: World) -> Plan | None:
    """The stand-in is filled: labels first, then what is said, then its volume."""
    stand_in = world.prime
    if stand_in is None or not world.complete:
        return None
    over = {cdi.PROGRESS: COMPLETE, **prime.reflected(world)}
    told = _transition(
        world, "Succeeded", "importSucceeded", f"Successfully imported into {world.claim.key.name}"
    )
    if world.kind == UPLOAD_SOURCE:
        message = f"Successfully uploaded into {world.claim.key.name}"
        told = _transition(world, "Succeeded", "UploadSucceeded", message)
    before = (*_labelled(world, stand_in), *told, *_said(world, over))
    return Plan((*before, *rebound(world.obj, stand_in, world.volume)))


def _staged(world: World) -> Plan | None:
    """A stage is done, or others are asked for: the stand-in is told before anything is said of it."""
    if world.prime is None or not world.advanced:
        return None
    return Plan((Merge(CLAIM, world.prime.key, {"metadata": {"annotations": world.advanced}}),))


def _working(world: World) -> Plan | None:
    """The stand-in waits, or is being filled: what is said of it is said here too."""
    stand_in = world.prime
    if stand_in is None:
        return None
    said: dict[str, str | None] = dict(prime.reflected(world))
    if world.figures:
        said[cdi.PROGRESS] = percentage(world.figures.percent, world.claim.annotations.get(cdi.PROGRESS, ""))
    upload = world.kind == UPLOAD_SOURCE
    reason = "UploadFailed" if upload else "importFailed"
    verb = "upload" if upload else "import"
    told = _transition(world, "Failed", reason, f"{verb} into {world.claim.key.name} failed", warning=True)
    looks = stand_in.pod_phase == "Running" and not upload and not meta.controller_of(world.obj)
    actions = (*prime.troubles(world), *told, *_said(world, said), *_corrected(world, stand_in))
    return Plan(actions, PERIOD if looks else None)


RULES: Final[tuple[Callable[[World], Plan | None], ...]] = (
    _leaving, _bound, _given, _unpopulable, _no_source, _waits, _absent, _complete, _staged, _working,
)  # fmt: skip


def _corrected(world: World, stand_in: Claim) -> tuple[Action, ...]:
    """Another source than before, or another try: the stand-in has to be told."""
    passed: dict[str, str | None] = {
        key: world.claim.annotations[key]
        for key in PASSED
        if key in world.claim.annotations and world.claim.annotations[key] != stand_in.annotations.get(key)
    }
    origin = prime.origin_of(world.source)
    said = passed | (corrected(stand_in.annotations, asked(origin)) if origin else {})
    return (Merge(CLAIM, stand_in.key, {"metadata": {"annotations": said}}),) if said else ()


def _labelled(world: World, stand_in: Claim) -> tuple[Action, ...]:
    """What the image said of itself; labels that the claim has stay."""
    found = {
        key: text
        for key, text in stand_in.labels.items()
        if cdi.PASSED_LABEL.fullmatch(key) and key not in world.claim.labels
    }
    return (Merge(CLAIM, world.claim.key, {"metadata": {"labels": found}}),) if found else ()


def _transition(
    world: World, phase: str, reason: str, message: str, *, warning: bool = False
) -> tuple[Action, ...]:
    """Told when the stand-in reaches that phase and the claim does not say so yet."""
    if world.prime is None or world.prime.pod_phase != phase or world.claim.pod_phase == phase:
        return ()
    return (Tell(CLAIM, world.obj, reason, message, warning),)


def _said(world: World, said: Mapping[str, str | None]) -> tuple[Action, ...]:
    """The patch that makes the claim say that; none where it does."""
    changed = {key: text for key, text in said.items() if world.claim.annotations.get(key) != text}
    return (Merge(CLAIM, world.claim.key, {"metadata": {"annotations": changed}}),) if changed else ()


def _removed(world: World) -> tuple[Action, ...]:
    if world.prime_obj is None or meta.deleting(world.prime_obj):
        return ()
    return (Delete(CLAIM, meta.key(world.prime_obj), Deletion(uid=meta.uid(world.prime_obj))),)


def _told(world: World, reason: str, message: str) -> Plan:
    """An event, once: the annotation of the condition remembers it."""
    why = {cdi.BOUND_CONDITION: "false", cdi.BOUND_REASON: reason, cdi.BOUND_MESSAGE: message}
    said = _said(world, why)
    return Plan((Tell(CLAIM, world.obj, reason, message, warning=True), *said)) if said else NOTHING
