"""The control plane of guests on a cluster: whichever node holds its Lease does that work for all of them, and serves
virtctl.

It is the Lease of KubeVirt's own virt-controller: where KubeVirt itself is at work, we never are.
"""

import threading
from typing import Final

from diskyard.api.meta import Key
from diskyard.api.names import kubevirt
from diskyard.kube.client import Client
from diskyard.kube.controller import Controllers
from diskyard.kube.leader import TERMS, Leader, Terms
from standalone.guestapi import GuestApi
from vm_runtime import controller

LEASE: Final = Key("virt-controller", kubevirt.NAMESPACE)


class GuestControl:
    """A candidate, from `start` until closed; one that loses the Lease stands again."""

    def __init__(self, client: Client, identity: str, api: GuestApi, terms: Terms = TERMS) -> None:
        self._client = client
        self._api = api
        self._identity = identity
        self._terms = terms
        self._closed = threading.Event()
        self._over = threading.Event()
        """Set when the Lease is lost, and when we close."""
        self._thread = threading.Thread(target=self._run, name="guest-control", daemon=True)

    def start(self) -> None:
        """Stand as a candidate, on a thread."""
        self._thread.start()

    def close(self) -> None:
        """Give the work to another."""
        self._closed.set()
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._over.clear()
            leader = Leader(self._client, LEASE, self._identity, self._terms, self._over.set)
            if leader.acquire(self._closed):
                self._work()
            leader.close()

    def _work(self) -> None:
        controllers = Controllers(self._client, controller.reconcilers())
        controllers.start()
        with self._api:
            while not self._closed.is_set() and not self._over.wait(1.0):
                self._api.attend()
        controllers.stop()
