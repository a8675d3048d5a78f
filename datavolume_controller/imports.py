"""Claims that are to be filled by an importer: its pod comes, works, is told about, and goes.

Everything is kept in the claim's annotations, as CDI's clients read it; DataVolumes take it from there.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from datavolume_controller import attempt, importer, vddk
from datavolume_controller.asked import digest
from datavolume_controller.attempt import Attempt
from datavolume_controller.progress import Scraper, Target
from datavolume_controller.settings import settings
from datavolume_controller.trust import Share
from datavolume_controller.usage import claims, in_use, users
from datavolume_controller.worded import annotated, refused, running
from diskyard.api import meta
from diskyard.api import pod as pods
from diskyard.api.config import Config
from diskyard.api.job import TerminationMessage, Vddk
from diskyard.api.meta import CDI_CONFIG, CLAIM, POD, RESOURCE_QUOTA, Key, Kind, Obj
from diskyard.api.names import cdi
from diskyard.api.pod import Facts
from diskyard.api.storage import Claim, claim
from diskyard.kube.client import Client, Deletion
from diskyard.kube.queue import backoff
from diskyard.kube.reconcile import (
    NOTHING,
    Action,
    Create,
    Delete,
    Merge,
    Plan,
    Tell,
    everything,
    find,
    short,
)
from diskyard.kube.refusal import CreateOrExplain

RUNNING: Final = "Pod is running"
IMAGE_TROUBLE: Final = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName")
CRASHING: Final = "CrashLoopBackOff"
REPORTED: Final = 2.0
"""Seconds between two looks at how much of a block device is durable."""


@dataclass(frozen=True)
class World:
    """One claim and its importer, as they stand."""

    obj: Obj
    claim: Claim
    config: Config
    pod: Obj | None
    users: tuple[Key, ...]
    """Other pods that use the claim and have not ended."""
    now: str
    journal: str = ""
    """Of a block device: what its running importer says is durable."""

    @property
    def facts(self) -> Facts:
        """What has happened to the pod."""
        return pods.facts(self.pod or {})

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The tries that are recorded."""
        return attempt.attempts(self.claim.annotations.get(cdi.ATTEMPTS, ""))

    @property
    def asked(self) -> str:
        """A digest of what the claim asks for now."""
        return digest(self.claim.annotations)


class Imports:
    """Gives each claim that asks for an import its importer."""

    kind: Kind = CLAIM
    wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {
        POD: claims,
        CDI_CONFIG: everything,
        RESOURCE_QUOTA: short,
    }

    def __init__(self, scraper: Scraper) -> None:
        self._scraper = scraper

    def gather(self, client: Client, key: Key) -> World | None:
        """The claim, its pod and who else uses it; None: not a claim for us."""
        obj = find(client, CLAIM, key)
        found = claim(obj) if obj else None
        if obj is None or found is None or not _ours(found):
            return None
        pod = find(client, POD, Key(importer.pod_name(found), key.namespace))
        return World(
            obj=obj,
            claim=found,
            config=vddk.settled(client, found, settings(client)),
            pod=pod,
            users=users(client, key) if pod is None else (),
            now=meta.timestamp(datetime.now(UTC)),
            journal=self._journal(found, pod) if pod and found.block else "",
        )

    def _journal(self, claim: Claim, pod: Obj) -> str:
        facts = pods.facts(pod)
        if not (facts.running and facts.ip):
            return ""
        found = self._scraper.figures(Target(facts.ip, importer.owner_uid(claim), meta.uid(pod)))
        return found.journal if found else ""

    def decide(self, world: World) -> Plan:
        """What to do next."""
        return next(plan for rule in RULES if (plan := rule(world)) is not None)


def _ours(claim: Claim) -> bool:
    asked = cdi.IMPORT_ENDPOINT in claim.annotations or cdi.IMPORT_SOURCE in claim.annotations
    return asked and cdi.EXTERNAL_POPULATION not in claim.annotations


def _leaving(world: World) -> Plan | None:
    """The claim is to go: so is what works on it, retained or not."""
    if world.claim.deleting:
        return Plan((_end_of(world.pod),)) if _present(world.pod) else NOTHING
    return None


def _foreign(world: World) -> Plan | None:
    """A pod of that name that is not this claim's: of a claim that has gone, or somebody's own."""
    if world.pod is None or meta.owned_by(world.pod, world.obj):
        return None
    return NOTHING


def _again(world: World) -> Plan | None:
    """It could never work as it was asked for; now something else is asked for, or the same once more."""
    tried = world.attempts[-1].asked if world.attempts else ""
    if not world.claim.fatal or tried in ("", world.asked):
        return None
    anew = {cdi.POD_PHASE: "Pending", cdi.IMPORT_FATAL: None, **running("false", "", "")}
    return Plan(((_end_of(world.pod),) if _present(world.pod) else ()) + annotated(world.claim, anew))


def _outdated(world: World) -> Plan | None:
    """The pod was asked for something else: another one is to do what is asked for now."""
    made_for = meta.annotations(world.pod or {}).get(cdi.ASKED, world.asked)
    if made_for == world.asked:
        return None
    return Plan((_end_of(world.pod),)) if _present(world.pod) else NOTHING


def _over(world: World) -> Plan | None:
    """Filled, or never to be filled."""
    if world.claim.pod_phase == "Succeeded" or world.claim.fatal:
        gone = not _present(world.pod) or world.claim.retained
        return NOTHING if gone else Plan((_end_of(world.pod),))
    return None


def _absent(world: World) -> Plan | None:
    """No pod: make one, as soon as it may be."""
    if world.pod is not None:
        return None
    held_back = world.config.honours_waiting and not world.claim.immediate and not world.claim.bound
    if held_back:
        return NOTHING
    if world.users:
        return in_use(world.obj, world.claim, world.users[0], "ImportTargetInUse")
    failures = sum(1 for each in world.attempts if each.failed and each.asked in ("", world.asked))
    wait = attempt.pause(world.attempts, world.now, backoff(failures, 0.5)) if failures else 0.0
    if wait:
        return Plan(requeue_after=wait)
    library = vddk.awaited(world.claim, world.config)
    if library is not None:
        return Plan(annotated(world.claim, library), vddk.PERIOD)
    name = importer.pod_name(world.claim)
    named = annotated(world.claim, {cdi.IMPORT_POD: name})
    create = CreateOrExplain(
        Create(POD, importer.pod(world.obj, world.claim, world.config)), CLAIM, world.obj, refused(name)
    )
    authorities = world.config.proxy.authorities
    shared = (Share(authorities, world.claim.key.namespace),) if authorities else ()
    return Plan((*named, *shared, create))


def _ended(world: World) -> Plan | None:
    """The container has ended for good: with a disk, or with a reason why there can be none.

    That reason holds too where the node was quicker and has started the container again.
    """
    end = world.facts.end or world.facts.last_end
    if end is None:
        return None
    said = TerminationMessage.from_text(end.message)
    if end.code == 0 and not said.fatal:
        if world.facts.phase != "Succeeded" or world.facts.end is None:
            return None
        success = {
            cdi.POD_PHASE: "Succeeded",
            cdi.PREALLOCATION_APPLIED: "true" if said.preallocation_applied else None,
            **({cdi.CHECKPOINT_POD: meta.uid(world.pod or {})} if world.claim.staged else {}),
            **_library(said.vddk),
            **running("false", attempt.SUCCEEDED, said.message or "Import Complete"),
        }
        told = Tell(CLAIM, world.obj, "ImportSucceeded", "Import Successful")
        return _finish(world, success, *_labelled(world, said.labels), told)
    if said.fatal:
        failure = {
            cdi.POD_PHASE: "Failed",
            cdi.IMPORT_FATAL: "true",
            **running("false", _reason(said), attempt.simplified(said)),
        }
        return _finish(world, failure)
    return None


def _lost(world: World) -> Plan | None:
    """The pod has failed as a whole, not the import: another one is to go on."""
    if world.facts.phase != "Failed":
        return None
    return Plan((*_said(world, _state(world)), _end_of(world.pod)))


def _working(world: World) -> Plan | None:
    """The pod waits, works, or is started again by its node."""
    asks = world.claim.block and world.facts.running
    return Plan(_said(world, _state(world)), REPORTED if asks else None)


RULES: Final[tuple[Callable[[World], Plan | None], ...]] = (
    _leaving, _foreign, _again, _over, _outdated, _absent, _ended, _lost, _working,
)  # fmt: skip


def _finish(world: World, annotations: Mapping[str, str | None], *before: Action) -> Plan:
    """Say how it ended, then let the pod go."""
    actions = (*before, *_said(world, annotations))
    return Plan(actions if world.claim.retained else (*actions, _end_of(world.pod)))


def _labelled(world: World, found: Mapping[str, str]) -> tuple[Action, ...]:
    """The image's own labels, on the claim before it says that it is filled; those that it has stay."""
    missing = {key: text for key, text in found.items() if key not in world.claim.labels}
    return (Merge(CLAIM, world.claim.key, {"metadata": {"labels": missing}}),) if missing else ()


def _library(said: Vddk | None) -> dict[str, str | None]:
    return {cdi.VDDK_VERSION: said.version or None, cdi.VDDK_HOST: said.host or None} if said else {}


def _said(world: World, state: Mapping[str, str | None]) -> tuple[Action, ...]:
    """The claim says what the pod does; a failed try is told when it is recorded. The event comes first:
    told twice is better than never."""
    one = _last(world)
    known = one is None or any(each.run == one.run for each in world.attempts)
    history = (
        {} if one is None or known else {cdi.ATTEMPTS: attempt.text(attempt.recorded(world.attempts, one))}
    )
    said = annotated(world.claim, {**_facts(world), **_durable(world), **history, **state})
    if one is None or known or not one.failed:
        return said
    return (Tell(CLAIM, world.obj, "ErrImportFailed", one.message, warning=True), *said)


def _facts(world: World) -> dict[str, str | None]:
    """Restarts and whether a node takes the pod."""
    facts = world.facts
    before = world.claim.annotations.get(cdi.POD_RESTARTS, "0")
    restarts = max(facts.restarts, int(before) if before.isdecimal() else 0)
    return {
        cdi.POD_RESTARTS: str(restarts),
        cdi.POD_SCHEDULABLE: "false" if facts.unschedulable else None,
    }


def _durable(world: World) -> dict[str, str | None]:
    """The journal of a block device, for the next importer: it would be lost with the pod."""
    end = world.facts.end or (None if world.journal else world.facts.last_end)
    said = TerminationMessage.from_text(end.message) if end else None
    if said and (said.fatal or (end and not end.code)):
        return {cdi.IMPORT_JOURNAL: None}
    found = said.journal if said else world.journal
    return {cdi.IMPORT_JOURNAL: found} if found and world.claim.block else {}


def _last(world: World) -> Attempt | None:
    """The try that ended last."""
    end = world.facts.end or world.facts.last_end
    if end is None:
        return None
    run = f"{meta.uid(world.pod or {})}/{end.finished}"
    said = TerminationMessage.from_text(end.message)
    source = world.claim.annotations.get(cdi.IMPORT_SOURCE, "http")
    found = attempt.attempt(run, end.finished or world.now, said, end.code, source)
    return replace(found, asked=meta.annotations(world.pod or {}).get(cdi.ASKED, ""))


def _state(world: World) -> dict[str, str | None]:
    """The pod's phase, and what the Running condition is made of."""
    return {cdi.POD_PHASE: world.facts.phase or "Pending", **_condition(world)}


def _condition(world: World) -> dict[str, str | None]:
    facts = world.facts
    if facts.running:
        return running("true", RUNNING, "")
    if facts.unschedulable:
        message = f"Importer pod cannot be scheduled: {facts.unschedulable}"
        return running("false", "Unschedulable", message)
    end = facts.end or facts.last_end
    if facts.waiting and facts.waiting[0] in IMAGE_TROUBLE:
        message = facts.waiting[1] or "failed to pull image"
        return running("false", "ImagePullFailed", f"{message}{_way_out(world)}")
    if end and end.code:
        said = TerminationMessage.from_text(end.message)
        return running("false", _reason(said), attempt.simplified(said) or end.reason)
    if facts.waiting and facts.waiting[0] != CRASHING:
        return running("false", *facts.waiting)
    return {}


def _way_out(world: World) -> str:
    """How VMware's library comes into a pod whose node cannot pull its image."""
    if cdi.VDDK_IMAGE not in world.claim.annotations or world.config.vddk_folder:
        return ""
    return (
        ". Where that image cannot be pulled, let the operator put the VDDK into a folder that pods see (on a yard: "
        f"below /usr) and name it on the CDIConfig {cdi.CONFIG_NAME}: {cdi.VDDK_FOLDER}"
    )


def _reason(said: TerminationMessage) -> str:
    """Reasons that clients know; every other failure is an `Error`."""
    if said.reason == "ChecksumError":
        return said.reason
    return "ImagePullFailed" if "failed to pull image" in said.message else attempt.FAILED


def _present(pod: Obj | None) -> bool:
    return pod is not None and not meta.deleting(pod)


def _end_of(pod: Obj | None) -> Delete:
    found = pod or {}
    return Delete(POD, meta.key(found), Deletion(uid=meta.uid(found)))
