"""What storage does to the machine and its volumes: each a value that can be carried out twice."""

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import CLAIM, VOLUME, Obj
from diskyard.errors import AlreadyExists, NoSpace, NotFound, Passing
from diskyard.kube.client import Client
from diskyard.kube.reconcile import Tell, find
from standalone.colleagues import ALL, Duties
from standalone.storage import volume
from standalone.storage.copies import Copies
from standalone.storage.loop import BACKING_FILE
from standalone.storage.place import Place

_NAMED: Final = 5
"""So many files are named."""


@dataclass(frozen=True)
class Room:
    """A node's room, of which one promise is made at a time."""

    place: Place
    node: str
    lock: threading.Lock
    duties: Duties = ALL
    copies: Copies = field(default_factory=Copies)

    def left(self, client: Client, besides: str) -> int:
        """Bytes that no volume but that one was promised."""
        volumes = [one for one in client.list(VOLUME).items if meta.name(one) != besides]
        return self.place.room(volume.promises(volumes, self.node))


@dataclass(frozen=True)
class Make:
    """Make a volume's directory; of one that somebody made by hand: make it usable."""

    volume: Obj
    place: Place

    def carry_out(self, _: Client) -> None:
        """Make it."""
        if volume.is_made(self.volume):
            size = volume.capacity(self.volume) if volume.is_block(self.volume) else None
            self.place.make(meta.name(self.volume), size)
            return
        path = volume.source(self.volume)[1]
        if path and not self.place.refusal(path):
            self.place.adopt(path)


@dataclass(frozen=True)
class Promise:
    """Make a volume's object: from now on its room is counted, whatever happens next."""

    volume: Obj
    room: Room

    def carry_out(self, client: Client) -> None:
        """Make it, unless another claim was quicker. Raises NoSpace."""
        name = meta.name(self.volume)
        with self.room.lock, suppress(AlreadyExists):
            if volume.capacity(self.volume) > self.room.left(client, name):
                raise NoSpace(
                    f"the room for {name} was promised to another claim a moment ago; will look again"
                )
            client.create(VOLUME, self.volume)


@dataclass(frozen=True)
class Grow:
    """Promise a volume more than it has."""

    volume: Obj
    size: str
    total: int
    room: Room

    def carry_out(self, client: Client) -> None:
        """Promise it, unless another claim was quicker. Raises NoSpace."""
        key = meta.key(self.volume)
        with self.room.lock, suppress(NotFound):
            if self.total > self.room.left(client, key.name):
                raise NoSpace(
                    f"the room for {key} was promised to another claim a moment ago; will look again"
                )
            client.patch(VOLUME, key, {"spec": {"capacity": {"storage": self.size}}})


@dataclass(frozen=True)
class Take:
    """Give a volume that is for anyone to a claim. Raises Conflict when another claim was quicker."""

    volume: Obj
    claim: Obj

    def carry_out(self, client: Client) -> None:
        """Give it."""
        said = {"resourceVersion": meta.meta(self.volume).get("resourceVersion")}
        ref = volume.reference(self.claim)
        client.patch(VOLUME, meta.key(self.volume), {"metadata": said, "spec": {"claimRef": ref}})


@dataclass(frozen=True)
class Name:
    """Tell a claim what lies in the volume that it got, and whose it is not."""

    volume: Obj
    claim: Obj
    place: Place

    def carry_out(self, client: Client) -> None:
        """Tell it, where there is anything."""
        path = volume.source(self.volume)[1]
        found = self.place.foreign(path) if path and not self.place.refusal(path) else ()
        if not found:
            return
        named = ", ".join(found[:_NAMED]) + (f" and {len(found) - _NAMED} more" if found[_NAMED:] else "")
        sentence = (
            f'volume "{meta.name(self.volume)}": {path} holds {named}, which no import or upload has left there: '
            f"they stay as they are. Only {BACKING_FILE} is written, and replaced once it is complete"
        )
        Tell(CLAIM, self.claim, "FolderNotEmpty", sentence, warning=True).carry_out(client)


@dataclass(frozen=True)
class Remove:
    """Take a volume's directory away."""

    volume: Obj
    place: Place

    def carry_out(self, client: Client) -> None:
        """Take it away, once the server itself says that the claim is gone, and that it is no other's. Raises Passing.

        What we know may be older: of two watches the one of claims can be ahead of the one of volumes.
        """
        of = volume.owner(self.volume)
        claim = find(client, CLAIM, of[0]) if of else None
        if of and claim and meta.uid(claim) == of[1]:
            raise Passing(f"volume {meta.name(self.volume)} is still that of claim {of[0]}; will look again")
        now = find(client, VOLUME, meta.key(self.volume))
        if now and meta.spec(now) != meta.spec(self.volume):
            raise Passing(
                f"volume {meta.name(self.volume)} was given to another claim, or changed; will look again"
            )
        self.place.remove(meta.name(self.volume), volume.is_block(self.volume))
