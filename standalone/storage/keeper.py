"""Keeps a node's image store in order: ends the leases of guests that are gone, evicts by age and by room."""

import os
import threading
from collections.abc import Callable
from typing import Final

from diskyard import log
from diskyard.api import lending, meta
from diskyard.api.meta import POD
from diskyard.disk.imagestore import ImageStore
from diskyard.errors import DiskyardError
from diskyard.kube.client import Client

ROUND: Final = 60.0
"""Seconds between two rounds."""
SCARCE: Final = 0.1
"""Of the file system: where less is free, images that nobody uses go."""

_log = log.logger("images")


class Keeper:
    """Goes round until closed."""

    def __init__(self, store: ImageStore, client: Client, round_: float = ROUND) -> None:
        self._store = store
        self._client = client
        self._round = round_
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="images", daemon=True)

    def start(self) -> None:
        """Begin, with a first round at once."""
        self._thread.start()

    def close(self) -> None:
        """End; what a round has begun is done first."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()

    def once(self) -> None:
        """One round. Raises ApiError, OSError."""
        self._store.tidy(_known(self._client))
        self._store.evict(enough=lambda: not scarce(self._store))

    def _work(self) -> None:
        while True:
            try:
                self.once()
            except (DiskyardError, OSError) as error:
                _log.warning("the image store was not looked after, it is tried again", because=error)
            if self._closed.wait(self._round):
                return


def scarce(store: ImageStore) -> bool:
    """Whether so little is free that unused images are worth less than their room."""
    facts = os.statvfs(store.folder)
    return facts.f_bavail < facts.f_blocks * SCARCE


def _known(client: Client) -> Callable[[str], bool]:
    """Whether some pod names a lease; pods are listed when that is asked first."""
    leases: list[frozenset[str]] = []

    def alive(holder: str) -> bool:
        if not leases:
            volumes = [each for pod in client.list(POD).items for each in meta.spec(pod).get("volumes") or ()]
            leases.append(frozenset(map(lending.lease_of, filter(lending.is_store, volumes))))
        return holder in leases[0]

    return alive
