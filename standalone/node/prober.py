"""Asks the probes of running containers, each on a thread of its own, and tells when an answer changes."""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import POD, Key, Obj
from diskyard.errors import ApiError
from diskyard.kube.client import Client
from diskyard.kube.reconcile import Tell
from standalone.node import probe, process
from standalone.node.probe import Probe, Target

ENDED: Final = 0.5
"""Seconds between two looks at whether a container that is waited for has ended."""


@dataclass(frozen=True)
class Verdict:
    """What is known of a running container by its probes."""

    started: bool
    ready: bool


@dataclass(frozen=True)
class Subject:
    """A life of a container that is to be probed."""

    pod: Obj
    target: Target
    began: datetime
    grace: float
    """Seconds that it gets to end when a probe kills it."""


@dataclass
class _State:
    """What the probes of one life have found so far."""

    started: threading.Event = field(default_factory=threading.Event)
    ready: bool = False


class Prober:
    """The probes that are asked now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[Path, _State] = {}
        self._closing = threading.Event()
        self._client: Client | None = None
        self._wake: Callable[[Key], None] = lambda _: None

    def begin(self, client: Client, wake: Callable[[Key], None]) -> None:
        """Say there what fails, and `wake` a pod when an answer changes."""
        self._client, self._wake = client, wake

    def verdict(self, life: Path) -> Verdict | None:
        """What is known of a life; None: nobody asks."""
        with self._lock:
            state = self._states.get(life)
        return Verdict(state.started.is_set(), state.started.is_set() and state.ready) if state else None

    def keep(self, subject: Subject) -> None:
        """Ask its probes until it ends; asked twice is asked once."""
        asked = probe.probes(subject.target.container)
        kinds = {one.kind for one in asked}
        state = _State(ready="readiness" not in kinds)
        if "startup" not in kinds:
            state.started.set()
        with self._lock:
            if subject.target.life in self._states or self._closing.is_set():
                return
            self._states[subject.target.life] = state
        for one in asked:
            name = f"probe-{one.kind}-{meta.name(subject.pod)}"
            threading.Thread(target=self._ask, args=(one, subject, state), name=name, daemon=True).start()

    def close(self) -> None:
        """Ask nobody any more."""
        self._closing.set()

    def _ask(self, one: Probe, subject: Subject, state: _State) -> None:
        """Ask one probe again and again."""
        since = (datetime.now(UTC) - subject.began).total_seconds()
        good = bad = 0
        alive = self._pause(subject, max(0.0, one.delay - since))
        while alive and one.kind != "startup" and not state.started.is_set():
            alive = self._pause(subject, ENDED)
        while alive:
            why = probe.answer(one, subject.target)
            if not process.holder(subject.target.life):
                break
            good, bad = (0, bad + 1) if why else (good + 1, 0)
            if why and bad in (1, one.failures):
                self._tell(subject, "Unhealthy", f"{one.kind.capitalize()} probe failed: {why}")
            if self._judged(one, subject, state, (good, bad)):
                break
            alive = self._pause(subject, one.period)
        if not process.holder(subject.target.life):
            with self._lock:
                self._states.pop(subject.target.life, None)

    def _judged(self, one: Probe, subject: Subject, state: _State, counts: tuple[int, int]) -> bool:
        """Draw the consequence; whether this probe has nothing more to ask."""
        good, bad = counts[0] >= one.successes, counts[1] >= one.failures
        if one.kind == "readiness":
            if (good and not state.ready) or (bad and state.ready):
                state.ready = good
                self._wake(meta.key(subject.pod))
            return False
        if bad:
            name = subject.target.container.get("name")
            self._tell(
                subject,
                "Killing",
                f"Container {name} failed {one.kind} probe, will be restarted",
                warning=False,
            )
            process.stop(subject.target.life, subject.grace if one.grace is None else one.grace)
            return True
        if one.kind == "startup" and good:
            state.started.set()
            self._wake(meta.key(subject.pod))
            return True
        return False

    def _pause(self, subject: Subject, seconds: float) -> bool:
        """Wait; whether there is still somebody to ask."""
        return not self._closing.wait(seconds) and bool(process.holder(subject.target.life))

    def _tell(self, subject: Subject, reason: str, message: str, *, warning: bool = True) -> None:
        if self._client is None:
            return
        with suppress(ApiError):  # an event more or less
            Tell(POD, subject.pod, reason, message, warning=warning).carry_out(self._client)
