"""An import in stages: which is the next one, and when the disk is complete. Pure (cdi-wire: warm imports).

A claim says in its annotations which stages are on its disk, and which is to come. A stage counts as done only by the
pod that has done it, so no look at old annotations can pass one over.
"""

from collections.abc import Mapping

from diskyard.api.datavolume import Checkpoint, Stages
from diskyard.api.names import cdi, derived

Said = dict[str, str | None]
_UNKNOWN = "Unknown"


def begun(stages: Stages) -> dict[str, str]:
    """What a claim says at first."""
    return _named(stages, stages.checkpoints[0]) if stages.checkpoints else {}


def advanced(stages: Stages, said: Mapping[str, str]) -> Said:
    """What a claim is to say instead, when a stage is done or other stages are asked for; nothing: it is right."""
    if not stages.checkpoints or said.get(cdi.CHECKPOINTS_DONE) == "true":
        return {}
    done = _done(said)
    upcoming = _next(stages, {*said, *done})
    if upcoming is None:
        wanted: Said = _ended(said) if stages.final and said.get(cdi.POD_PHASE) == "Succeeded" else dict(done)
    else:
        wanted = {**done, **_named(stages, upcoming)}
        if said.get(cdi.POD_PHASE) == "Succeeded":
            wanted |= {cdi.POD_PHASE: _UNKNOWN, cdi.IMPORT_POD: None}
    return {key: text for key, text in wanted.items() if said.get(key) != text}


def _done(said: Mapping[str, str]) -> dict[str, str]:
    """The stage that has just been done, and by which pod; none where that pod has done another one."""
    current, pod = said.get(cdi.CHECKPOINT_CURRENT), said.get(cdi.CHECKPOINT_POD, "")
    counted = {text for key, text in said.items() if key.startswith(cdi.CHECKPOINT_COPIED)}
    if not current or not pod or said.get(cdi.POD_PHASE) != "Succeeded" or pod in counted:
        return {}
    return {derived.copied(current): pod}


def _next(stages: Stages, copied: set[str]) -> Checkpoint | None:
    return next((each for each in stages.checkpoints if derived.copied(each.current) not in copied), None)


def _named(stages: Stages, one: Checkpoint) -> dict[str, str]:
    last = stages.final and one == stages.checkpoints[-1]
    return {
        cdi.CHECKPOINT_CURRENT: one.current,
        cdi.CHECKPOINT_PREVIOUS: one.previous,
        cdi.CHECKPOINT_FINAL: "true" if last else "false",
    }


def _ended(said: Mapping[str, str]) -> Said:
    """The disk is complete: nothing but that is said any more."""
    gone = (cdi.CHECKPOINT_CURRENT, cdi.CHECKPOINT_PREVIOUS, cdi.CHECKPOINT_FINAL, cdi.CHECKPOINT_POD)
    copied = (key for key in said if key.startswith(cdi.CHECKPOINT_COPIED))
    return {**dict.fromkeys((*gone, *copied)), cdi.CHECKPOINTS_DONE: "true"}
