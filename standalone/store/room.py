"""Quotas at work: a write into a namespace that has any is measured before it is made, and told in their status after.

The objects themselves are counted, so that a quota never drifts from what is there. Where a namespace has no quota, a
write costs one look.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from diskyard.api.meta import RESOURCE_QUOTA, Kind, Obj
from standalone.store import answers, quota
from standalone.store.log import Log, Record, Stale, Write

_TRIES: Final = 10


class Room:
    """What namespaces may still take in."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._lock = threading.Lock()

    @contextmanager
    def held(self, kind: Kind, write: Write, *, rehearsed: bool) -> Iterator[None]:
        """The time in which a write is made, that nobody else takes its room. Raises Forbidden."""
        if not kind.namespaced or not (kind == RESOURCE_QUOTA or self._quotas(write.key.namespace)):
            yield
            return
        with self._lock:
            if not write.gone:
                self._check(kind, write)
            yield
            if not rehearsed:
                self._tell(write.key.namespace, write.resource)

    def _check(self, kind: Kind, write: Write) -> None:
        wanted = quota.of(write.resource, lambda: write.obj)
        before = self._log.get(write.resource, write.key)
        had = quota.of(write.resource, before.obj) if before else {}
        more = {name: amount - had.get(name, 0) for name, amount in wanted.items()}
        if not any(amount > 0 for amount in more.values()):
            return
        for record in self._quotas(write.key.namespace):
            one = record.obj()
            told = quota.exceeded(one, self._taken(write.key.namespace, one), more)
            if told:
                raise answers.forbidden(kind, write.key.name, told)

    def _taken(self, namespace: str, one: Obj) -> quota.Usage:
        return quota.used(
            record
            for resource in quota.resources([one])
            for record in self._log.snapshot(resource).records
            if record.key.namespace == namespace
        )

    def _quotas(self, namespace: str) -> list[Record]:
        if not self._log.holds(RESOURCE_QUOTA.resource):
            return []
        records = self._log.snapshot(RESOURCE_QUOTA.resource).records
        return [record for record in records if record.key.namespace == namespace]

    def _tell(self, namespace: str, resource: str) -> None:
        """Write down how the quotas stand that such objects count for."""
        for record in self._quotas(namespace):
            for _ in range(_TRIES):
                now = self._log.get(record.resource, record.key)
                if now is None:
                    break
                one = now.obj()
                status = quota.status(one, self._taken(namespace, one))
                counts = resource in {RESOURCE_QUOTA.resource, *quota.resources([one])}
                if not counts or one.get("status") == status:
                    break
                with suppress(Stale):
                    self._log.write(
                        Write(record.resource, record.key, {**one, "status": status}, now.revision)
                    )
                    break
