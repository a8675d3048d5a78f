"""Runs reconcilers: watches wake keys, workers gather, decide and carry out.

One cache serves them all. A key is worked on by one thread at a time. What fails comes back with back-off.
"""

import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from diskyard import log
from diskyard.api import meta
from diskyard.api.meta import Key, Kind, Obj
from diskyard.errors import AlreadyExists, ApiError, Conflict, DiskyardError
from diskyard.kube.cache import Cache, CachedClient, WriteThrough
from diskyard.kube.client import Client
from diskyard.kube.figures import Counted, Figures
from diskyard.kube.queue import Queue
from diskyard.kube.reconcile import EVERY, NOTHING, SHORT, Action, Plan, Reconciler, Tell
from diskyard.kube.shortage import Shortage

WROTE: Final = "wrote"
IDLE: Final = "nothing"
CONFLICT: Final = "conflict"
FAILED: Final = "failed"
RESULTS: Final = (WROTE, IDLE, CONFLICT, FAILED)

_log = log.logger("controller")


class Controllers:
    """Reconcilers at work on one server."""

    def __init__(
        self,
        client: Client,
        reconcilers: Sequence[Reconciler[Any]],
        workers: int = 2,
        figures: Figures | None = None,
    ) -> None:
        figures = figures or Figures()
        kinds = [kind for each in reconcilers for kind in (each.kind, *each.wakes)]
        counted = Counted(client, figures)
        self._cache = Cache(counted, kinds, self._notice)
        server = WriteThrough(counted, self._cache)
        self.client = CachedClient(server, self._cache)
        """Reads what is watched from memory."""
        self._loops = [_Loop(each, self.client, server, figures) for each in reconcilers]
        self._workers = workers
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to watch and to work; returns at once."""
        self._cache.start()
        for loop in self._loops:
            for number in range(self._workers):
                name = f"{type(loop.reconciler).__name__.lower()}-{number}"
                self._threads.append(
                    threading.Thread(target=self._work, args=(loop,), name=name, daemon=True)
                )
        for thread in self._threads:
            thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Whether every watched kind is in memory; waits for that so many seconds."""
        return self._cache.wait(timeout)

    def stop(self) -> None:
        """Finish what is being carried out, begin nothing more, end every thread."""
        for loop in self._loops:
            loop.queue.close()
        self._cache.stop()
        for thread in self._threads:
            thread.join(timeout=30)

    def wake(self, kind: Kind, key: Key) -> None:
        """Look at `key`: for facts that no watch brings, such as a process that ended."""
        for loop in self._loops:
            if loop.reconciler.kind == kind:
                loop.queue.add(key)

    def _notice(self, kind: Kind, objects: Sequence[Obj]) -> None:
        for loop in self._loops:
            try:
                loop.notice(kind, objects)
            except Exception:  # noqa: BLE001 - one reconciler's fault must not end the watch of all
                _log.error("a change was not understood", kind=kind, key=meta.key(objects[0]), exc_info=True)

    def _work(self, loop: "_Loop") -> None:
        self._cache.wait()
        while (key := loop.queue.take()) is not None:
            try:
                loop.step(key)
            finally:
                loop.queue.done(key)


class _Loop:
    """One reconciler and its queue."""

    def __init__(
        self, reconciler: Reconciler[Any], cached: CachedClient, server: Client, figures: Figures
    ) -> None:
        self.reconciler = reconciler
        self.queue: Queue[Key] = Queue()
        self._cached = cached
        self._server = server
        self._name = type(reconciler).__name__
        self._results = {each: figures.reconciles.labels(self._name, each) for each in RESULTS}
        self._duration = figures.duration.labels(self._name)
        self._latency = figures.latency.labels(self._name)
        self._noticed: dict[Key, float] = {}
        self._shortage = Shortage()
        figures.waiting.labels(self._name).set_function(lambda: len(self.queue))

    def notice(self, kind: Kind, objects: Sequence[Obj]) -> None:
        if kind == self.reconciler.kind:
            self._wake(meta.key(objects[0]))
        wakes = self.reconciler.wakes.get(kind)
        if not wakes:
            return
        for key in {key for obj in objects for key in wakes(obj)}:
            for woken in self._meant(key, objects):
                self._wake(woken)

    def _meant(self, key: Key, objects: Sequence[Obj]) -> Sequence[Key]:
        if key == EVERY:
            return self._cached.keys(self.reconciler.kind)
        return self._shortage.relieved(objects) if key == SHORT else (key,)

    def _wake(self, key: Key) -> None:
        self._noticed.setdefault(key, time.monotonic())
        self.queue.add(key)

    def step(self, key: Key) -> None:
        noticed = self._noticed.pop(key, None)
        begun = time.monotonic()
        result = self._step(key)
        now = time.monotonic()
        self._results[result].inc()
        self._duration.observe(now - begun)
        if noticed is not None and result == WROTE:
            self._latency.observe(now - noticed)

    def _step(self, key: Key) -> str:
        try:
            plan = reconcile(self.reconciler, self._cached, self._server, key)
        except (Conflict, AlreadyExists):
            self.queue.retry(key)
            return CONFLICT
        except DiskyardError as failure:
            self._shortage.refused(key, failure)
            delay = self.queue.retry(key)
            _log.warning(
                "will try again", controller=self._name, key=key, seconds=round(delay, 2), error=failure
            )
        except Exception:  # noqa: BLE001 - the loop outlives every fault of a reconciler
            delay = self.queue.retry(key)
            _log.error("failed", controller=self._name, key=key, seconds=round(delay, 2), exc_info=True)
        else:
            self.queue.forget(key)
            self._shortage.ended(key)
            if plan.requeue_after is not None:
                self.queue.add(key, plan.requeue_after)
            return WROTE if plan.actions else IDLE
        return FAILED


def reconcile(reconciler: Reconciler[Any], cached: Client, server: Client, key: Key) -> Plan:
    """Gather, decide and carry out once; the plan that was carried out."""
    world = reconciler.gather(cached, key)
    if world is None:
        return NOTHING
    plan = reconciler.decide(world)
    untold = [each for each in plan.actions if not _carried_out(each, server)]
    for tell in untold:
        if not _carried_out(tell, server):
            _log.warning("an event is lost", controller=type(reconciler).__name__, key=key, event=tell)
    return plan


def _carried_out(action: Action, server: Client) -> bool:
    """False: it was an event that the server did not take. What is to be done does not wait for what is told of it."""
    try:
        action.carry_out(server)
    except ApiError:
        if not isinstance(action, Tell):
            raise
        return False
    return True
