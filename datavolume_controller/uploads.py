"""Claims that wait for an upload: their server comes, takes an image in, is told about, and goes.

Everything is kept in the claim's annotations, as CDI's clients read it; DataVolumes take it from there.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from datavolume_controller import attempt, importer, uploader
from datavolume_controller.attempt import Attempt
from datavolume_controller.progress import IDLE, PERIOD, Scraper, Target
from datavolume_controller.settings import settings
from datavolume_controller.usage import claims, in_use, users
from datavolume_controller.worded import annotated, refused, running
from diskyard.api import meta
from diskyard.api import pod as pods
from diskyard.api.config import Config
from diskyard.api.job import TerminationMessage
from diskyard.api.meta import CDI_CONFIG, CLAIM, POD, RESOURCE_QUOTA, SECRET, SERVICE, Key, Kind, Obj
from diskyard.api.names import cdi, upload
from diskyard.api.pod import Facts
from diskyard.api.progress import Figures
from diskyard.api.storage import Claim, claim
from diskyard.kube.client import Client, Deletion
from diskyard.kube.reconcile import NOTHING, Action, Create, Delete, Plan, Tell, everything, find, short
from diskyard.kube.refusal import CreateOrExplain
from diskyard.web.issue import Pem

RUNNING: Final = "Pod is running"
DONE: Final = "Upload Complete"
NO_KEYS_PAUSE: Final = 1.0


@dataclass(frozen=True)
class World:
    """One claim and its upload server, as they stand."""

    obj: Obj
    claim: Claim
    config: Config
    pod: Obj | None
    service: Obj | None
    signer: Pem | None
    """Of servers' certificates; None: not made yet."""
    clients: bytes
    """The certificate of the authority that signs the proxy's."""
    users: tuple[Key, ...]
    """Other pods that use the claim and have not ended."""
    now: datetime
    figures: Figures | None = None
    """What the server says that runs."""

    @property
    def facts(self) -> Facts:
        """What has happened to the pod."""
        return pods.facts(self.pod or {})

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The uploads that have ended, as far as they are recorded."""
        return attempt.attempts(self.claim.annotations.get(cdi.ATTEMPTS, ""))


class Uploads:
    """Gives each claim that waits for an upload its server."""

    kind: Kind = CLAIM
    wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {
        POD: claims,
        CDI_CONFIG: everything,
        RESOURCE_QUOTA: short,
    }

    def __init__(self, scraper: Scraper) -> None:
        self._scraper = scraper

    def gather(self, client: Client, key: Key) -> World | None:
        """The claim, its server and who else uses it; None: not a claim for us."""
        obj = find(client, CLAIM, key)
        found = claim(obj) if obj else None
        if obj is None or found is None or not _ours(found):
            return None
        here = Key(uploader.name(found), key.namespace)
        pod = find(client, POD, here)
        clients = uploader.pair(find(client, SECRET, Key(upload.CLIENT_SIGNER, cdi.NAMESPACE)))
        return World(
            obj=obj,
            claim=found,
            config=settings(client),
            pod=pod,
            service=find(client, SERVICE, here),
            signer=uploader.pair(find(client, SECRET, Key(upload.SERVER_SIGNER, cdi.NAMESPACE))),
            clients=clients.certificate if clients else b"",
            users=users(client, key) if pod is None else (),
            now=datetime.now(UTC),
            figures=self._figures(found, pod) if pod else None,
        )

    def _figures(self, claim: Claim, pod: Obj) -> Figures | None:
        facts = pods.facts(pod)
        if not (facts.running and facts.ip):
            return None
        return self._scraper.figures(Target(facts.ip, importer.owner_uid(claim), meta.uid(pod)))

    def decide(self, world: World) -> Plan:
        """What to do next."""
        return next(plan for rule in RULES if (plan := rule(world)) is not None)


def _ours(claim: Claim) -> bool:
    return cdi.UPLOAD_TARGET in claim.annotations and cdi.EXTERNAL_POPULATION not in claim.annotations


def _leaving(world: World) -> Plan | None:
    return Plan(_gone(world)) if world.claim.deleting else None


def _foreign(world: World) -> Plan | None:
    """A pod of that name that is not this claim's: of a claim that has gone, or somebody's own."""
    if world.pod is None or meta.owned_by(world.pod, world.obj):
        return None
    return NOTHING


def _over(world: World) -> Plan | None:
    return Plan(_gone(world)) if world.claim.pod_phase == "Succeeded" else None


def _absent(world: World) -> Plan | None:
    """No server: make one, as soon as it may be."""
    if world.pod is not None:
        return None
    if world.config.honours_waiting and not world.claim.immediate and not world.claim.bound:
        return NOTHING
    if world.users:
        return in_use(world.obj, world.claim, world.users[0], "UploadTargetInUse")
    if world.signer is None or not world.clients:
        return Plan(requeue_after=NO_KEYS_PAUSE)
    name = uploader.name(world.claim)
    made = uploader.pod(world.obj, world.claim, world.config, world.now)
    return Plan(
        (
            *annotated(world.claim, {upload.POD_NAME: name}),
            uploader.Certify(world.obj, world.claim, world.signer, world.clients, world.now),
            Create(SERVICE, uploader.service(world.obj, world.claim)),
            CreateOrExplain(Create(POD, made), CLAIM, world.obj, refused(name)),
        )
    )


def _ended(world: World) -> Plan | None:
    """The server has ended well: the claim is filled, or its certificate gets old."""
    end = world.facts.end
    if end is None or end.code or world.facts.phase != "Succeeded":
        return None
    said = TerminationMessage.from_text(end.message)
    if said.message != DONE:
        return Plan((*annotated(world.claim, {cdi.POD_PHASE: "", cdi.POD_READY: "false"}), *_gone(world)))
    success = {
        cdi.POD_PHASE: "Succeeded",
        cdi.POD_READY: "false",
        cdi.PREALLOCATION_APPLIED: "true" if said.preallocation_applied else None,
        **_recorded(world),
        **running("false", attempt.SUCCEEDED, said.message),
    }
    told = Tell(CLAIM, world.obj, "UploadSucceeded", "Upload Successful")
    return Plan((told, *annotated(world.claim, success), *_gone(world)))


def _lost(world: World) -> Plan | None:
    """The pod has failed as a whole: another one goes on from what is durable."""
    if world.facts.phase != "Failed":
        return None
    return Plan((*_failures(world), *annotated(world.claim, _state(world)), *_gone(world)))


def _working(world: World) -> Plan | None:
    """The server waits, works, or is started again by its node."""
    busy = world.figures is not None and world.figures.percent is not None
    pause = (PERIOD if busy else IDLE) if world.facts.running else None
    return Plan((*_failures(world), *annotated(world.claim, _state(world))), pause)


RULES: Final[tuple[Callable[[World], Plan | None], ...]] = (
    _leaving, _foreign, _over, _absent, _ended, _lost, _working,
)  # fmt: skip


def _state(world: World) -> dict[str, str | None]:
    """The pod's phase, what the Running condition is made of, and the tries so far."""
    facts = world.facts
    before = world.claim.annotations.get(cdi.POD_RESTARTS, "0")
    restarts = max(facts.restarts, int(before) if before.isdecimal() else 0)
    return {
        cdi.POD_PHASE: facts.phase or "Pending",
        cdi.POD_READY: "true" if facts.ready and facts.running else "false",
        cdi.POD_RESTARTS: str(restarts),
        cdi.POD_SCHEDULABLE: "false" if facts.unschedulable else None,
        **_recorded(world),
        **_condition(world),
    }


def _condition(world: World) -> dict[str, str | None]:
    facts, tries = world.facts, (*world.attempts, *_fresh(world))
    failed = tries[-1].told if tries and tries[-1].failed else ""
    if facts.running:
        return running("true", RUNNING, failed)
    if facts.unschedulable:
        return running("false", "Unschedulable", "Upload server pod cannot be scheduled")
    if failed:
        return running("false", attempt.FAILED, failed)
    return running("false", *facts.waiting) if facts.waiting else {}


def _fresh(world: World) -> tuple[Attempt, ...]:
    """Uploads that have ended and are not recorded: the server has ended with them, or stays and says so."""
    pod, end = meta.uid(world.pod or {}), world.facts.end or world.facts.last_end
    failures = world.figures.failures if world.figures else ()
    found = [attempt.upload(pod, each) for each in failures]
    if end is not None:
        said, moment = TerminationMessage.from_text(end.message), end.finished or meta.timestamp(world.now)
        found.insert(0, attempt.served(f"{pod}/{end.finished}", moment, said, end.code))
    known = {each.run for each in world.attempts}
    return tuple(each for each in found if each.run not in known)


def _recorded(world: World) -> dict[str, str | None]:
    tries = world.attempts
    for each in _fresh(world):
        tries = attempt.recorded(tries, each)
    return {cdi.ATTEMPTS: attempt.text(tries)} if tries != world.attempts else {}


def _failures(world: World) -> tuple[Action, ...]:
    """A try that failed is told when it is recorded, and before: told twice is better than never."""
    return tuple(
        Tell(CLAIM, world.obj, "ErrUploadFailed", each.message, warning=True)
        for each in _fresh(world)
        if each.failed
    )


def _gone(world: World) -> tuple[Action, ...]:
    """The server's pod, Service and Secret go, where they are this claim's."""
    name = Key(uploader.name(world.claim), world.claim.key.namespace)
    found = []
    if world.pod is not None and not meta.deleting(world.pod):
        found.append(Delete(POD, name, Deletion(uid=meta.uid(world.pod))))
    if world.service is not None and meta.owned_by(world.service, world.obj):
        found += [Delete(SERVICE, name), Delete(SECRET, name)]
    return tuple(found)
