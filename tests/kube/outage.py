"""A server that a test can take away: a Client in front of the store, whose link breaks when told."""

import threading
from typing import Any

from diskyard.api.meta import Key, Kind, Obj
from diskyard.errors import Expired, ServerError
from diskyard.kube.client import ALL, DELETE, Client, Deletion, Listing, Patch, Selection, Watch


class Link:
    """Everything goes through it, until it is `cut`; then watches end, and `forgets` says whether they may resume."""

    def __init__(self, server: Client) -> None:
        self.server = server
        self.forgets = False
        self.lists = 0
        self._up = threading.Event()
        self._up.set()
        self._watches: list[Watch] = []

    def cut(self) -> None:
        """The server is out of reach from now on."""
        self._up.clear()
        for watch in self._watches:
            watch.close()

    def mend(self) -> None:
        """It is back."""
        self._up.set()

    def get(self, kind: Kind, key: Key) -> Obj:
        return self._reached().get(kind, key)

    def list(self, kind: Kind, selection: Selection = ALL) -> Listing:
        self.lists += 1
        return self._reached().list(kind, selection)

    def watch(self, kind: Kind, since: str, selection: Selection = ALL) -> Watch:
        if self.forgets:
            self.forgets = False
            raise Expired("too old resource version")
        watch = self._reached().watch(kind, since, selection)
        self._watches.append(watch)
        return watch

    def create(self, kind: Kind, obj: Obj, subresource: str = "") -> Obj:
        return self._reached().create(kind, obj, subresource)

    def update(self, kind: Kind, obj: Obj, subresource: str = "") -> Obj:
        return self._reached().update(kind, obj, subresource)

    def patch(self, kind: Kind, key: Key, patch: Any, subresource: str = "", how: Patch = Patch.MERGE) -> Obj:
        return self._reached().patch(kind, key, patch, subresource, how)

    def delete(self, kind: Kind, key: Key, deletion: Deletion = DELETE) -> Obj:
        return self._reached().delete(kind, key, deletion)

    def _reached(self) -> Client:
        if not self._up.is_set():
            raise ServerError("no connection")
        return self.server
