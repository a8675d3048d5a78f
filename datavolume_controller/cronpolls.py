"""Looking at a cron's source when it is time: the pod comes, says what it has found, and goes. Pure."""

from collections.abc import Mapping
from typing import Final

from datavolume_controller import poller
from datavolume_controller.cronworld import World
from datavolume_controller.trust import Share
from diskyard.api import meta
from diskyard.api.job import TerminationMessage
from diskyard.api.meta import IMPORT_CRON, POD, Obj
from diskyard.api.names import cdi
from diskyard.api.poll import Found
from diskyard.kube.client import Deletion
from diskyard.kube.reconcile import Action, Create, Delete, Merge, Tell
from diskyard.kube.refusal import CreateOrExplain

FAILED: Final = "PollFailed"
IMAGE_TROUBLE: Final = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError")
_SAID: Final = 1000
"""Characters of a message that is kept."""


def looked(world: World) -> tuple[Action, ...]:
    """What looking at the source takes now."""
    cron = world.cron
    if world.poller is not None:
        return _watched(world) if meta.owned_by(world.poller, world.obj) else ()
    if world.due != 0.0:
        return ()
    if "pvc" in cron.source:
        return _claim(world)
    authorities = world.config.proxy.authorities
    shared = (Share(authorities, cron.key.namespace),) if authorities else ()
    made = Create(POD, poller.pod(world))
    return (*shared, CreateOrExplain(made, IMPORT_CRON, world.obj, unmade))


def unmade(reason: str, message: str) -> Obj:
    """What is said on a cron for which something could not be made."""
    return {"metadata": {"annotations": {cdi.POLL_ERROR: _trouble(reason, message)}}}


def _claim(world: World) -> tuple[Action, ...]:
    """Another claim is another version."""
    if world.denied:
        return _failure(world, "NotAuthorized", world.denied)
    if world.origin is None:
        where = world.cron.source["pvc"]
        said = f"The source pvc {where.get('namespace')}/{where.get('name')} doesn't exist"
        return _failure(world, "NotFound", said)
    return _success(world, Found(f"uid:{meta.uid(world.origin)}"))


def _watched(world: World) -> tuple[Action, ...]:
    pod = world.poller or {}
    end = world.facts.end or world.facts.last_end
    if meta.deleting(pod):
        return ()
    if end is None:
        return _held_up(world)
    if end.code == 0:
        found = Found.from_text(end.message)
        after = (
            _success(world, found) if found else _failure(world, "InternalError", "The poller said nothing")
        )
        return (*after, _gone(pod))
    said = TerminationMessage.from_text(end.message)
    reason, message = said.reason or end.reason or FAILED, said.message or f"The poller ended with {end.code}"
    if said.fatal or world.facts.phase == "Failed":
        return (*_failure(world, reason, message), _gone(pod))
    return _told(world, reason, message, {})


def _held_up(world: World) -> tuple[Action, ...]:
    """What keeps the pod from its work."""
    waiting = world.facts.waiting
    if world.facts.unschedulable:
        return _told(world, "Unschedulable", world.facts.unschedulable, {})
    if waiting and waiting[0] in IMAGE_TROUBLE:
        return _told(world, waiting[0], waiting[1], {})
    return ()


def _success(world: World, found: Found) -> tuple[Action, ...]:
    said = {
        cdi.DESIRED_DIGEST: found.digest,
        cdi.FOUND: found.to_text(),
        cdi.POLL_ERROR: None,
        **_times(world),
    }
    return (_merged(world, said, executed=True),)


def _failure(world: World, reason: str, message: str) -> tuple[Action, ...]:
    """Nothing more is tried until the next time; what was imported before stays."""
    return _told(world, reason, message, _times(world), executed=True)


def _told(
    world: World, reason: str, message: str, more: Mapping[str, str | None], *, executed: bool = False
) -> tuple[Action, ...]:
    text = _trouble(reason, message)
    if not executed and world.cron.annotations.get(cdi.POLL_ERROR) == text:
        return ()
    ask = f"kubectl annotate dataimportcron {world.cron.key.name} {cdi.LAST_CRON_TIME}-"
    again = f". To have it looked at again before its schedule says: {ask}" if executed else ""
    told = Tell(IMPORT_CRON, world.obj, FAILED, text + again, warning=True)
    return (told, _merged(world, {cdi.POLL_ERROR: text, **more}, executed=executed))


def _trouble(reason: str, message: str) -> str:
    """As the cron's annotation has it, and `cronstatus.polled` reads it."""
    return f"{reason}: {message}"[:_SAID]


def _merged(world: World, said: Mapping[str, str | None], *, executed: bool) -> Merge:
    status = {"status": {"lastExecutionTimestamp": world.now}} if executed else {}
    return Merge(IMPORT_CRON, world.cron.key, {"metadata": {"annotations": dict(said)}, **status})


def _times(world: World) -> dict[str, str | None]:
    following = world.following(meta.moment(world.now))
    return {
        cdi.LAST_CRON_TIME: world.now,
        cdi.NEXT_CRON_TIME: meta.timestamp(following) if following else None,
    }


def _gone(pod: Obj) -> Delete:
    return Delete(POD, meta.key(pod), Deletion(uid=meta.uid(pod)))
