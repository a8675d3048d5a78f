"""printableStatus: the one word by which people know a machine's state. A table; the first row that fits wins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from diskyard.api import meta
from diskyard.api.instance import FINAL_PHASES
from diskyard.api.machine import Strategy
from diskyard.api.meta import Obj
from vm_runtime.controller.strategy import State, Step, step
from vm_runtime.controller.supply import FIRST_CONSUMER

PVC_MISSING: Final = "FailedPvcNotFound"
STARTING: Final = ("", "Pending", "Scheduling", "Scheduled")
RESTARTING: Final = (Strategy.ALWAYS, Strategy.RERUN, Strategy.ONCE)


@dataclass(frozen=True)
class View:
    """What the word is derived from."""

    state: State
    data_volumes: Sequence[Obj]
    """Those of the machine's volumes and templates that are there."""
    claims: Sequence[Obj]
    """Those of the machine's volumes that are there."""

    @property
    def instance(self) -> Obj:
        """The instance; an empty object where there is none."""
        return self.state.instance or {}

    @property
    def to_start(self) -> bool:
        """Whether the machine runs, or wants to."""
        return self.state.instance is not None or step(self.state) is Step.START


def printable(view: View) -> str:
    """The word."""
    return next((word for word, fits in TABLE if fits(view)), "Unknown")


def _says(view: View, type_: str, status: str, *reasons: str) -> bool:
    found = meta.condition(view.instance, type_) or {}
    return found.get("status") == status and (not reasons or found.get("reason") in reasons)


def _stopping(view: View) -> bool:
    return meta.deleting(view.instance) and meta.phase(view.instance) not in FINAL_PHASES


def _running(view: View) -> bool:
    return meta.phase(view.instance) == "Running"


def _broken(view: View) -> bool:
    for each in view.data_volumes:
        running = meta.condition(each, "Running") or {}
        stuck = running.get("status") == "False" and running.get("reason") in ("Error", "ImagePullFailed")
        if meta.phase(each) == "Failed" or stuck:
            return True
    return False


def _provisioning(view: View) -> bool:
    return any(meta.phase(each) not in ("Succeeded", "Failed", *FIRST_CONSUMER) for each in view.data_volumes)


def _unbound(view: View) -> bool:
    return view.to_start and any(meta.phase(each) != "Bound" for each in view.claims)


def _starting(view: View) -> bool:
    return view.state.instance is not None and meta.phase(view.instance) in STARTING


def _crash_loop(view: View) -> bool:
    over = view.state.instance is None or view.state.final
    machine = view.state.machine
    return over and machine.strategy in RESTARTING and machine.failure.count > 0


TABLE: Final[tuple[tuple[str, Callable[[View], bool]], ...]] = (
    ("Terminating", lambda view: view.state.machine.deleting),
    ("Stopping", _stopping),
    ("Paused", lambda view: _says(view, "Paused", "True")),
    ("Running", _running),
    ("ErrorPvcNotFound", lambda view: _says(view, "Synchronized", "False", PVC_MISSING)),
    ("DataVolumeError", _broken),
    ("ErrorUnschedulable", lambda view: _says(view, "PodScheduled", "False", "Unschedulable")),
    ("Provisioning", _provisioning),
    ("WaitingForVolumeBinding", _unbound),
    ("ErrImagePull", lambda view: _says(view, "Synchronized", "False", "ErrImagePull")),
    ("ImagePullBackOff", lambda view: _says(view, "Synchronized", "False", "ImagePullBackOff")),
    ("Starting", _starting),
    ("CrashLoopBackOff", _crash_loop),
    ("Stopped", lambda view: view.state.instance is None or view.state.final),
)
