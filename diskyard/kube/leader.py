"""Who of several like programs works: whoever holds a Lease, renews it, and gives it back when it ends.

Clocks are never compared across machines: a Lease is over when we have seen no change of it for as long as it says. A
holder that cannot renew stops before others may begin.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from diskyard import log
from diskyard.api import meta
from diskyard.api.meta import LEASE, Key, Obj
from diskyard.errors import AlreadyExists, ApiError, Conflict, NotFound
from diskyard.kube.client import Client

_log = log.logger("leader")
_RELEASED: Final = 1
"""Seconds that a Lease says to last when it is given back, as client-go does."""


@dataclass(frozen=True)
class Terms:
    """Seconds: client-go's own."""

    duration: float = 15.0
    """Others wait so long after the last sign of life."""
    deadline: float = 10.0
    """A holder that could not renew for so long holds it no more."""
    retry: float = 2.0
    """Between two tries, to renew and to get it."""


TERMS: Final = Terms()


class Leader:
    """One candidate. `acquire`, then work until `lost` is set (and `on_lost` called), then `close`."""

    def __init__(
        self,
        client: Client,
        lease: Key,
        identity: str,
        terms: Terms = TERMS,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self.lost = threading.Event()
        self._client = client
        self._lease = lease
        self._identity = identity
        self._terms = terms
        self._on_lost = on_lost
        self._seen: tuple[str, float] = ("", 0.0)
        self._renewed = 0.0
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def leading(self) -> bool:
        """Whether the Lease is ours."""
        return bool(self._threads) and not self.lost.is_set() and not self._closed.is_set()

    def acquire(self, stop: threading.Event) -> bool:
        """Wait until the Lease is ours, and keep it from then on; False: `stop` was set before."""
        said = ""
        while not stop.is_set():
            try:
                holder = self._take()
            except (Conflict, AlreadyExists):
                continue
            except ApiError as error:
                holder = str(error)
            if not holder:
                self._begin()
                _log.info("leading", lease=self._lease, identity=self._identity)
                return True
            if holder != said:
                said = holder
                _log.info("waiting for the lease", lease=self._lease, holder=holder)
            stop.wait(self._terms.retry)
        return False

    def close(self) -> None:
        """Give the Lease back, so that another need not wait for its end."""
        self._closed.set()
        for thread in self._threads:
            thread.join(timeout=self._terms.deadline)
        if not self._threads or self.lost.is_set():
            return
        try:
            self._release()
        except ApiError as error:
            _log.warning("could not give the lease back", lease=self._lease, error=error)

    def _begin(self) -> None:
        works = (self._keep, self._guard)
        threads = [threading.Thread(target=work, name="leader", daemon=True) for work in works]
        for thread in threads:
            thread.start()
        self._threads = threads  # now it leads, and whoever closes it may join them

    def _keep(self) -> None:
        while not self.lost.is_set() and not self._closed.wait(self._terms.retry):
            try:
                holder = self._take()
            except ApiError as error:
                _log.warning("could not renew the lease", lease=self._lease, error=error)
                continue
            if holder:
                self._lose(f"it is held by {holder}")

    def _guard(self) -> None:
        """Apart from renewing, which may wait for a server that does not answer."""
        while not self.lost.is_set() and not self._closed.wait(self._terms.retry / 2):
            if time.monotonic() - self._renewed > self._terms.deadline:
                self._lose("it could not be renewed in time")

    def _lose(self, why: str) -> None:
        _log.error("lost the lease", lease=self._lease, why=why)
        self.lost.set()
        self._on_lost()

    def _take(self) -> str:
        """Make it ours, or renew it; who holds it else. Raises ApiError."""
        now = time.monotonic()
        try:
            held = self._client.get(LEASE, self._lease)
        except NotFound:
            self._client.create(LEASE, self._made())
            self._renewed = now
            return ""
        spec = meta.spec(held)
        holder = str(spec.get("holderIdentity") or "")
        version = str(meta.meta(held).get("resourceVersion") or "")
        if version != self._seen[0]:
            self._seen = (version, now)
        lasts = float(spec.get("leaseDurationSeconds") or self._terms.duration)
        if holder not in ("", self._identity) and now - self._seen[1] < lasts:
            return holder
        self._client.update(LEASE, {**held, "spec": self._held(spec, ours=holder == self._identity)})
        self._renewed = now
        return ""

    def _release(self) -> None:
        held = self._client.get(LEASE, self._lease)
        spec = meta.spec(held)
        if spec.get("holderIdentity") != self._identity:
            return
        left = {**spec, "holderIdentity": "", "leaseDurationSeconds": _RELEASED, "renewTime": _moment()}
        self._client.update(LEASE, {**held, "spec": left})
        _log.info("gave the lease back", lease=self._lease)

    def _held(self, before: Obj, *, ours: bool) -> Obj:
        now = _moment()
        moves = int(before.get("leaseTransitions") or 0)
        return {
            **before,
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(self._terms.duration) or 1,
            "renewTime": now,
            "acquireTime": before.get("acquireTime") or now if ours else now,
            "leaseTransitions": moves if ours else moves + 1,
        }

    def _made(self) -> Obj:
        metadata = {"name": self._lease.name, "namespace": self._lease.namespace}
        spec = {**self._held({}, ours=True), "leaseTransitions": 0}
        return {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata, "spec": spec}


def _moment() -> str:
    """A MicroTime."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
