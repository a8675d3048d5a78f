"""Controllers without threads: every key looked at until nothing is left to do, and cut off where a test says."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from datavolume_controller import reconcilers
from datavolume_controller.authorities import Authorities
from datavolume_controller.progress import Scraper
from diskyard.api import meta
from diskyard.errors import NotFound
from diskyard.kube.client import Client
from diskyard.kube.reconcile import EVERY, Reconciler

ROUNDS = 20


def of_volumes(scraper: Scraper) -> list[Reconciler[Any]]:
    """Everyone but who makes keys and certificates: those take seconds, and crashes of theirs are told elsewhere."""
    return [each for each in reconcilers(scraper) if not isinstance(each, Authorities)]


@dataclass
class Steps:
    """One action after another; the `cut`th is the last of its plan, as if the process had died then."""

    client: Client
    reconcilers: Sequence[Reconciler[Any]]
    cut: int = 0
    done: int = 0
    """Actions carried out so far."""
    trace: list[str] = field(default_factory=list)

    def settle(self) -> None:
        """Look at every root until no plan has an action left."""
        for _ in range(ROUNDS):
            before = self.done
            for each in self.reconcilers:
                for key in self._keys(each):
                    self._once(each, key)
            if self.done == before:
                return
        raise AssertionError(f"no end after {ROUNDS} rounds: {self.trace[-20:]}")

    def _keys(self, reconciler: Reconciler[Any]) -> list[meta.Key]:
        """Every root, and every key that another object asks to look at."""
        found = {meta.key(obj) for obj in self.client.list(reconciler.kind).items}
        for kind, wakes in reconciler.wakes.items():
            with suppress(NotFound):  # not every server has snapshots
                found |= {key for obj in self.client.list(kind).items for key in wakes(obj)}
        return sorted(found - {EVERY})

    def _once(self, reconciler: Reconciler[Any], key: meta.Key) -> None:
        world = reconciler.gather(self.client, key)
        if world is None:
            return
        for action in reconciler.decide(world).actions:
            action.carry_out(self.client)
            self.done += 1
            self.trace.append(f"{type(reconciler).__name__} {key}: {action}"[:200])
            if self.done == self.cut:
                return
