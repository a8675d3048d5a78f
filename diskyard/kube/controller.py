"""Runs reconcilers: watches wake keys, workers gather, decide and carry out.

One cache serves them all. A key is worked on by one thread at a time. What fails comes back with back-off.
"""

import threading
from collections.abc import Sequence
from typing import Any

from diskyard import log
from diskyard.api import meta
from diskyard.api.meta import Key, Kind, Obj
from diskyard.errors import AlreadyExists, Conflict, DiskyardError
from diskyard.kube.cache import Cache, CachedClient, WriteThrough
from diskyard.kube.client import Client
from diskyard.kube.queue import Queue
from diskyard.kube.reconcile import EVERY, NOTHING, Plan, Reconciler

_log = log.logger("controller")


class Controllers:
    """Reconcilers at work on one server."""

    def __init__(self, client: Client, reconcilers: Sequence[Reconciler[Any]], workers: int = 2) -> None:
        kinds = [kind for each in reconcilers for kind in (each.kind, *each.wakes)]
        self._cache = Cache(client, kinds, self._notice)
        server = WriteThrough(client, self._cache)
        self._loops = [_Loop(each, self._cache, server) for each in reconcilers]
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

    def __init__(self, reconciler: Reconciler[Any], cache: Cache, server: Client) -> None:
        self.reconciler = reconciler
        self.queue: Queue[Key] = Queue()
        self._cache = cache
        self._cached = CachedClient(server, cache)
        self._server = server

    def notice(self, kind: Kind, objects: Sequence[Obj]) -> None:
        if kind == self.reconciler.kind:
            self.queue.add(meta.key(objects[0]))
        wakes = self.reconciler.wakes.get(kind)
        if not wakes:
            return
        for key in {key for obj in objects for key in wakes(obj)}:
            for woken in self._roots() if key == EVERY else (key,):
                self.queue.add(woken)

    def _roots(self) -> list[Key]:
        memory = self._cache.memory(self.reconciler.kind)
        return memory.keys() if memory else []

    def step(self, key: Key) -> None:
        try:
            plan = reconcile(self.reconciler, self._cached, self._server, key)
        except (Conflict, AlreadyExists):
            self.queue.retry(key)
        except DiskyardError as failure:
            delay = self.queue.retry(key)
            _log.warning(
                "will try again", controller=self._name, key=key, seconds=round(delay, 2), error=failure
            )
        except Exception:  # noqa: BLE001 - the loop outlives every fault of a reconciler
            delay = self.queue.retry(key)
            _log.error("failed", controller=self._name, key=key, seconds=round(delay, 2), exc_info=True)
        else:
            self.queue.forget(key)
            if plan.requeue_after is not None:
                self.queue.add(key, plan.requeue_after)

    @property
    def _name(self) -> str:
        return type(self.reconciler).__name__


def reconcile(reconciler: Reconciler[Any], cached: Client, server: Client, key: Key) -> Plan:
    """Gather, decide and carry out once; the plan that was carried out."""
    world = reconciler.gather(cached, key)
    if world is None:
        return NOTHING
    plan = reconciler.decide(world)
    for action in plan.actions:
        action.carry_out(server)
    return plan
