"""Run strategies: is the instance to be made, taken away, or left alone? Pure; the first rule that speaks wins."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from diskyard.api import meta
from diskyard.api.instance import FINAL_PHASES
from diskyard.api.machine import Machine, Request, StartFailure, Strategy
from diskyard.api.meta import Obj

LONGEST_BACKOFF: Final = 300
"""Seconds between two starts of an instance that fails again and again."""
STABLE: Final = 300
"""Seconds after which an instance that ran counts as well started."""


class Step(Enum):
    """What to do about the instance."""

    START = "start"
    STOP = "stop"
    REST = "rest"


@dataclass(frozen=True)
class State:
    """A machine and its instance."""

    machine: Machine
    instance: Obj | None
    strategy_before: str = ""
    """status.runStrategy: what was acted on the last time."""

    @property
    def final(self) -> bool:
        """Whether there is an instance, and it is over."""
        return self.instance is not None and meta.phase(self.instance) in FINAL_PHASES

    @property
    def asked_to_start(self) -> bool:
        """Whether a start was asked for."""
        return any(each.action == "Start" for each in self.machine.requests)

    @property
    def begins_paused(self) -> bool:
        """Whether the start that was asked for is to end before the guest's first instruction."""
        return any(each.action == "Start" and each.paused for each in self.machine.requests)

    @property
    def asked_to_stop(self) -> bool:
        """Whether this very instance was asked to stop."""
        return self.instance is not None and any(
            each.action == "Stop" and each.uid in ("", meta.uid(self.instance))
            for each in self.machine.requests
        )


def step(state: State) -> Step:
    """What the run strategy wants now."""
    return STRATEGIES[state.machine.strategy](state)


def _always(state: State) -> Step:
    if state.instance is None:
        return Step.START
    return Step.STOP if state.final or state.asked_to_stop else Step.REST


def _rerun(state: State) -> Step:
    if state.instance is None:
        fresh = state.strategy_before != Strategy.RERUN
        return Step.START if fresh or state.asked_to_start else Step.REST
    failed = meta.phase(state.instance) == "Failed"
    again = state.final and state.asked_to_start
    return Step.STOP if failed or again or state.asked_to_stop else Step.REST


def _manual(state: State) -> Step:
    if state.instance is None:
        return Step.START if state.asked_to_start else Step.REST
    return Step.STOP if state.asked_to_stop or (state.final and state.asked_to_start) else Step.REST


def _once(state: State) -> Step:
    if state.instance is None:
        return Step.START
    return Step.STOP if state.asked_to_stop else Step.REST


def _halted(state: State) -> Step:
    return Step.STOP if state.instance is not None else Step.REST


STRATEGIES: Final[dict[Strategy, Callable[[State], Step]]] = {
    Strategy.ALWAYS: _always,
    Strategy.RERUN: _rerun,
    Strategy.MANUAL: _manual,
    Strategy.ONCE: _once,
    Strategy.HALTED: _halted,
}


def requests(state: State) -> tuple[Request, ...]:
    """The requests that are still to be met, and the start that a failure asks for by itself."""
    found = list(state.machine.requests)
    if state.instance is None:
        found = [each for each in found if each.action != "Stop"]
    elif not state.final and not meta.deleting(state.instance) and not state.asked_to_stop:
        found = [each for each in found if each.action != "Start"]
    failed = state.instance is not None and meta.phase(state.instance) == "Failed"
    if failed and state.machine.strategy == Strategy.RERUN and not state.asked_to_start:
        found.append(Request("Start"))
    return tuple(found)


def failure(state: State, now: datetime) -> StartFailure:
    """The count of failures in a row: one more for a new failure, none after a good start."""
    before, instance = state.machine.failure, state.instance
    if instance is None:
        return before
    if meta.phase(instance) == "Failed":
        if meta.uid(instance) == before.last_uid:
            return before
        count = 1 if _lasted(instance, now) else before.count + 1
        after = meta.timestamp(now + timedelta(seconds=backoff(count)))
        return StartFailure(count, meta.uid(instance), after)
    return StartFailure() if meta.phase(instance) == "Succeeded" or _lasted(instance, now) else before


def backoff(failures: int) -> int:
    """Seconds before the next start: 10, 40, 90, 160, 250, then 300 (KubeVirt's max(10, 300/30) n^2)."""
    return min(LONGEST_BACKOFF, max(10, LONGEST_BACKOFF // 30) * failures**2)


def delay(state: State, now: datetime) -> float:
    """Seconds until the instance may be started; 0: now."""
    said = state.machine.failure.retry_after
    return max(0.0, (meta.moment(said) - now).total_seconds()) if said else 0.0


def settled(state: State, now: datetime) -> State:
    """The state with its requests and failures brought up to now."""
    machine = replace(state.machine, failure=failure(state, now), requests=requests(state))
    return replace(state, machine=machine)


def _lasted(instance: Obj, now: datetime) -> bool:
    times = meta.status(instance).get("phaseTransitionTimestamps") or ()
    began = {each.get("phase"): each.get("phaseTransitionTimestamp") for each in times}
    if not began.get("Running"):
        return False
    ended = began.get("Failed")
    end = meta.moment(ended) if ended else now
    return (end - meta.moment(began["Running"])).total_seconds() >= STABLE
