"""A new image is tried in a guest before anybody gets it: the guest comes, its console is heard, it goes. Pure.

The guest writes beside the image, never into it, and is the cron's: whoever deletes the cron deletes it.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Final

from datavolume_controller.cronworld import World
from diskyard.api import meta
from diskyard.api.boottest import IMAGE, PLAIN, BootTest, Verdict
from diskyard.api.instance import FINAL_PHASES, parts
from diskyard.api.meta import CLAIM, IMPORT_CRON, INSTANCE, Condition, Obj
from diskyard.api.names import cdi, derived, kubevirt
from diskyard.kube.client import Deletion
from diskyard.kube.reconcile import Action, Create, Delete, Merge, Tell
from diskyard.kube.refusal import QUOTA, CreateOrExplain

BOOTED: Final = "BootTested"
FAILED: Final = "BootTestFailed"
LOOK_AGAIN: Final = 30.0
"""Seconds until a right is asked for again that was not there."""
TAIL: Final = 400
_SAID: Final = 1000
"""Characters of a verdict: what an event takes."""


def tried(world: World) -> tuple[Action, ...]:
    """What the test takes now."""
    guest, test = world.trial, world.boot
    if guest is not None and (
        not world.testing or meta.annotations(guest).get(cdi.BOOT_TEST) != _mark(world)
    ):
        gone = Delete(INSTANCE, meta.key(guest), Deletion(uid=meta.uid(guest)))
        return () if meta.deleting(guest) else (gone,)
    if test is None or not world.testing or world.untested:
        return ()
    if guest is None:
        return (_made(world, test),)
    verdict = _verdict(world, test, guest)
    return (_kept(world, verdict),) if verdict else ()


def told(world: World, condition: Condition) -> tuple[Action, ...]:
    """An event, the first time that the condition says it."""
    held = meta.condition(world.obj, BOOTED) or {}
    if condition.reason == held.get("reason") and condition.message == held.get("message"):
        return ()
    if condition.reason not in ("Failed", "Passed", "NotAuthorized"):
        return ()
    passed = condition.status == "True"
    reason = "BootTestPassed" if passed else FAILED
    return (Tell(IMPORT_CRON, world.obj, reason, condition.message, warning=not passed),)


def booted(world: World) -> Sequence[Condition]:
    """Whether the newest image boots; nothing where nobody asks."""
    if world.illegal:
        return (Condition(BOOTED, "False", "IllegalBootTest", world.illegal),)
    test, current = world.boot, world.current
    if test is None:
        return ()
    if current is None or not world.done:
        return (Condition(BOOTED, "False", "NoImage", "No image to be tested"),)
    verdict = world.verdict
    if verdict is None and world.untested:
        return (Condition(BOOTED, "False", "NotAuthorized", world.untested),)
    if verdict is None:
        message = f"A guest of {current.name} is to print {test.says!r} within {test.within} s"
        return (Condition(BOOTED, "False", "Testing", message),)
    if verdict.failed:
        message = f"{current.name}: {verdict.failed}"
        return (Condition(BOOTED, "False", "Failed", message),)
    return (Condition(BOOTED, "True", "Passed", f"A guest of {current.name} printed {test.says!r}"),)


def patience(world: World) -> float | None:
    """Seconds until the test is to be looked at without anything having happened; None: no need."""
    if world.boot is None or not world.testing:
        return None
    if world.untested:
        return LOOK_AGAIN
    return max(1.0, world.boot.within - _age(world, world.trial)) if world.trial else None


def guest(world: World, test: BootTest) -> Obj:
    """The guest: as asked, with the image as a disk that forgets what is written to it."""
    spec = deepcopy(PLAIN if test.guest is None else test.guest)
    devices = spec["domain"].setdefault("devices", {})
    disks = parts(devices, "disks")
    if not any(each.get("name") == IMAGE for each in disks):
        disks.insert(0, {"name": IMAGE, "disk": {"bus": "virtio"}, "bootOrder": 1})
    devices["disks"] = disks
    image = {"persistentVolumeClaim": {"claimName": world.target.name, "readOnly": True}}
    others = [each for each in parts(spec, "volumes") if each.get("name") != IMAGE]
    spec["volumes"] = [{"name": IMAGE, "ephemeral": image}, *others]
    return {
        "apiVersion": INSTANCE.api_version,
        "kind": INSTANCE.kind,
        "metadata": {
            "name": derived.boot_test(world.cron.key.name, world.cron.uid),
            "namespace": world.cron.key.namespace,
            "labels": {cdi.CRON_LABEL: world.cron.key.name},
            "annotations": {kubevirt.CONSOLE_AWAITS: test.says, cdi.BOOT_TEST: _mark(world)},
            "ownerReferences": [meta.owner_reference(IMPORT_CRON, world.obj)],
        },
        "spec": spec,
    }


def _mark(world: World) -> str:
    """Which image is tried, and how."""
    return f"{world.target.name} {world.boot.mark if world.boot else ''}"


def _made(world: World, test: BootTest) -> Action:
    """The guest; one that the server refuses can never say anything, but for a quota, which passes."""

    def unmade(reason: str, message: str) -> Obj:
        if reason == QUOTA:
            return {}
        return _annotated(Verdict(test.mark, f"its guest was refused: {message}"[:_SAID]))

    return CreateOrExplain(Create(INSTANCE, guest(world, test)), CLAIM, world.claim or {}, unmade)


def _verdict(world: World, test: BootTest, guest: Obj) -> Verdict | None:
    """What is known by now; None: nothing yet."""
    said = meta.condition(guest, "ConsoleSaid") or {}
    if said.get("status") == "True":
        return Verdict(test.mark)
    over = meta.phase(guest) in FINAL_PHASES
    if not over and _age(world, guest) < test.within:
        return None
    why = "ended before that" if over else f"took longer than {test.within} s"
    at, tail = world.points_at, str(said.get("message") or "")
    serves = f"{at.key.name} keeps serving. " if at else ""
    words = f"{test.says!r} was not printed: its guest {why} ({_state(guest)}). {serves}"
    last = f"Its console ended with:\n{tail[-TAIL:]}" if tail else "Its console said nothing"
    return Verdict(test.mark, (words + last)[:_SAID])


def _state(guest: Obj) -> str:
    """What else is known of a guest that said nothing: its phase, and its trouble."""
    found = (meta.condition(guest, each) or {} for each in ("Synchronized", "PodScheduled"))
    trouble = next((str(each["message"]) for each in found if each.get("message")), "")
    return ": ".join(each for each in (meta.phase(guest) or "not begun", trouble) if each)


def _age(world: World, guest: Obj | None) -> float:
    made = meta.meta(guest or {}).get("creationTimestamp")
    return (meta.moment(world.now) - meta.moment(str(made))).total_seconds() if made else 0.0


def _kept(world: World, verdict: Verdict) -> Action:
    return Merge(CLAIM, world.target, _annotated(verdict))


def _annotated(verdict: Verdict) -> Obj:
    return {"metadata": {"annotations": {cdi.BOOT_TEST: verdict.to_text()}}}
