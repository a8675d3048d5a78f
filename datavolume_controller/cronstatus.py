"""What a DataImportCron says of itself: CDI's conditions, and one of ours on looking at the source. Pure."""

from typing import Final

from datavolume_controller import cronboot
from datavolume_controller.cronworld import World
from diskyard.api import meta
from diskyard.api.condition import timed
from diskyard.api.datavolume import Phase
from diskyard.api.meta import Condition, Obj
from diskyard.api.names import cdi

PROGRESSING: Final = "Progressing"
UP_TO_DATE: Final = "UpToDate"
POLLED: Final = "Polled"


def status(world: World) -> Obj:
    """What of the status is to stand, for a merge."""
    conditions = [progressing(world), up_to_date(world), polled(world), *cronboot.booted(world)]
    current = world.current
    return {
        "sourceFormat": world.entry,
        "currentImports": [current.wire] if current else None,
        "conditions": timed(world.obj, conditions, world.now, heartbeats=True),
    }


def progressing(world: World) -> Condition:
    """Whether an import is under way."""
    if world.denied and not world.done:
        return Condition(PROGRESSING, "False", "NotAuthorized", "Not authorized to create DataVolume")
    if world.current is None or world.done or world.lost:
        return Condition(PROGRESSING, "False", "NoImport", "No current import")
    if world.phase == Phase.SCHEDULED:
        return Condition(PROGRESSING, "False", "ImportScheduled", "Import is scheduled")
    if world.phase == Phase.IMPORTING:
        return Condition(PROGRESSING, "True", "ImportProgressing", "Import is progressing")
    phase = world.phase or Phase.PENDING
    why = _hindrance(world)
    message = f"Import DataVolume phase {phase}" + (f": {why}" if why else "")
    return Condition(PROGRESSING, "False", phase, message)


def _hindrance(world: World) -> str:
    """Why an import fails, or its claim gets no volume."""
    bound = meta.condition(world.dv or {}, "Bound") or {}
    unbound = bound.get("status") == "False" and bound.get("reason") not in ("", Phase.PENDING, None)
    said = meta.condition(world.dv or {}, "Running") if world.failing else bound if unbound else None
    return str((said or {}).get("message") or "")


def up_to_date(world: World) -> Condition:
    """Whether what the source has now is what is used."""
    if world.outdated:
        return Condition(UP_TO_DATE, "False", "Outdated", "Source digest updated since last import")
    if world.bad or world.illegal:
        stays = f"DataSource {world.cron.data_source.name} stays where it is"
        return Condition(UP_TO_DATE, "False", "BootTestFailed", f"{stays}: see the condition BootTested")
    if world.testing:
        return Condition(UP_TO_DATE, "False", "BootTestProgressing", "Boot test of the image is progressing")
    if world.current is not None and world.done and world.by_snapshot and not world.snapped:
        why = f": {world.unsnapped}" if world.unsnapped else ""
        message = f"Snapshot of imported data is progressing{why}"
        return Condition(UP_TO_DATE, "False", "ImportProgressing", message)
    if world.current is not None and world.done:
        if world.held:
            held = (
                f"Latest import is up to date; DataSource {world.cron.data_source.name} is held where it is"
            )
            return Condition(UP_TO_DATE, "True", "UpToDate", held)
        return Condition(UP_TO_DATE, "True", "UpToDate", "Latest import is up to date")
    if world.current is not None:
        return Condition(UP_TO_DATE, "False", "ImportProgressing", "Import is progressing")
    return Condition(UP_TO_DATE, "False", "NoDigest", "No source digest")


def polled(world: World) -> Condition:
    """Whether the source could be looked at the last time."""
    error = world.cron.annotations.get(cdi.POLL_ERROR, "")
    if error:
        reason, _, message = error.partition(": ")
        return Condition(POLLED, "False", reason if reason.isalnum() else "PollFailed", message)
    if not world.cron.schedule:
        return Condition(
            POLLED, "False", "NoSchedule", "The source is never looked at: somebody sets the digest"
        )
    if cdi.LAST_CRON_TIME not in world.cron.annotations:
        return Condition(POLLED, "False", "Pending", "The source was not looked at yet")
    return Condition(POLLED, "True", "Polled", "The source was looked at")
