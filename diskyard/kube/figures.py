"""What controllers count about themselves, for Prometheus: requests, reconciles, queues, how fast changes are met."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from diskyard.api.meta import Key, Kind, Obj
from diskyard.errors import ApiError
from diskyard.kube.client import ALL, DELETE, Client, Deletion, Listing, Patch, Selection, Watch

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Figures:
    """One program's counters, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self.requests = Counter(
            "diskyard_api_requests",
            "Requests to the API server",
            ("verb", "resource", "code"),
            registry=self.registry,
        )
        self.reconciles = Counter(
            "diskyard_reconciles",
            "Looks at an object, by what came of them",
            ("controller", "result"),
            registry=self.registry,
        )
        self.duration = Histogram(
            "diskyard_reconcile_seconds",
            "From taking a key to the last write",
            ("controller",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.latency = Histogram(
            "diskyard_change_to_write_seconds",
            "From a change that a watch brought to the last write that it caused",
            ("controller",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.waiting = Gauge(
            "diskyard_queue_length",
            "Keys that are to be looked at, now or later",
            ("controller",),
            registry=self.registry,
        )
        self.leading = Gauge("diskyard_leader", "1 while this program works", registry=self.registry)

    def text(self) -> bytes:
        """The page that Prometheus reads."""
        return generate_latest(self.registry)


class Counted:
    """A Client that counts what goes through it."""

    def __init__(self, client: Client, figures: Figures) -> None:
        self._client = client
        self._figures = figures

    def get(self, kind: Kind, key: Key) -> Obj:
        with self._counted("get", kind):
            return self._client.get(kind, key)

    def list(self, kind: Kind, selection: Selection = ALL) -> Listing:
        with self._counted("list", kind):
            return self._client.list(kind, selection)

    def watch(self, kind: Kind, since: str, selection: Selection = ALL) -> Watch:
        with self._counted("watch", kind):
            return self._client.watch(kind, since, selection)

    def create(self, kind: Kind, obj: Obj, subresource: str = "") -> Obj:
        with self._counted("create", kind):
            return self._client.create(kind, obj, subresource)

    def update(self, kind: Kind, obj: Obj, subresource: str = "") -> Obj:
        with self._counted("update", kind):
            return self._client.update(kind, obj, subresource)

    def patch(self, kind: Kind, key: Key, patch: Any, subresource: str = "", how: Patch = Patch.MERGE) -> Obj:
        with self._counted("patch", kind):
            return self._client.patch(kind, key, patch, subresource, how)

    def delete(self, kind: Kind, key: Key, deletion: Deletion = DELETE) -> Obj:
        with self._counted("delete", kind):
            return self._client.delete(kind, key, deletion)

    @contextmanager
    def _counted(self, verb: str, kind: Kind) -> Iterator[None]:
        code = "200"
        try:
            yield
        except ApiError as error:
            code = str(error.code)
            raise
        finally:
            self._figures.requests.labels(verb, kind.plural, code).inc()


@contextmanager
def timed(histogram: Histogram) -> Iterator[None]:
    """Observe how long the block takes."""
    begun = time.monotonic()
    try:
        yield
    finally:
        histogram.observe(time.monotonic() - begun)
