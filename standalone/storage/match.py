"""Which volume that somebody made fits a claim, and why another does not, with its numbers. Pure.

The rules are those of Kubernetes' own binder (`pkg/controller/volume/persistentvolume/index.go`): class, mode, access
modes, size and labels; of those that fit the smallest.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from diskyard.api import meta, selector
from diskyard.api.meta import Obj
from diskyard.api.quantity import human
from standalone.storage import volume
from standalone.storage.place import Place

MOST_TOLD: Final = 5
"""So many volumes are spoken of in one event."""


def best(claim: Obj, volumes: Iterable[Obj], place: Place, node: str) -> Obj | None:
    """The volume for a claim among those that are for anyone."""
    fitting = [one for one in volumes if volume.owner(one) is None and not misfit(claim, one, place, node)]
    return min(fitting, key=lambda one: (volume.capacity(one), meta.name(one)), default=None)


def misfit(claim: Obj, found: Obj, place: Place, node: str) -> str:
    """Why a volume does not serve a claim; empty: it does."""
    return ", and ".join((*_class(claim, found), *_obstacles(claim, found, place, node)))


def strict(claim: Obj, found: Obj, place: Place, node: str) -> str:
    """The same for a volume that is meant for the claim by name: its class may be another one."""
    return ", and ".join(_obstacles(claim, found, place, node))


def _obstacles(claim: Obj, found: Obj, place: Place, node: str) -> Iterator[str]:
    yield from _reasons(claim, found, node)
    if why := unusable(found, place):
        yield why


def unusable(found: Obj, place: Place) -> str:
    """Why this node cannot serve a volume, whoever claims it; empty: it can."""
    kind, path = volume.source(found)
    if path is None:
        return f"is of type {kind}: this node has local and hostPath"
    refused = "" if volume.is_made(found) else place.refusal(path)
    return f"lies at a path that is closed: {refused}" if refused else ""


def told(claim: Obj, volumes: Iterable[Obj], place: Place, node: str) -> str:
    """The volumes that somebody made and what keeps each from serving the claim, as the end of a sentence."""
    by_hand = [one for one in volumes if not volume.is_made(one)]
    said = [f'"{meta.name(one)}" {misfit(claim, one, place, node)}' for one in by_hand]
    said = [one for one in said if not one.endswith('" ')]
    more = f"; and {len(said) - MOST_TOLD} more" if len(said) > MOST_TOLD else ""
    return f"; volumes that do not fit: {'; '.join(said[:MOST_TOLD])}{more}" if said else ""


def _class(claim: Obj, found: Obj) -> Iterator[str]:
    wanted, has = volume.class_name(claim) or "", volume.class_name(found) or ""
    if wanted != has:
        yield f"is of {_named(has)}, and the claim asks for {_named(wanted)}"


def _named(name: str) -> str:
    return f'class "{name}"' if name else "no class"


def _reasons(claim: Obj, found: Obj, node: str) -> Iterator[str]:
    if meta.deleting(found):
        yield "is being deleted"
    of = volume.owner(found)
    if of and of[1] not in ("", meta.uid(claim)):
        released = meta.phase(found) == "Released"
        yield (
            f"holds what is left of the deleted claim {of[0]}: remove its spec.claimRef to let others have it"
            if (released)
            else f"is bound to claim {of[0]}"
        )
    elif of and of[0] != meta.key(claim):
        yield f"is reserved for claim {of[0]}"
    if volume.is_block(claim) != volume.is_block(found):
        has, wanted = (("Block", "Filesystem")[not volume.is_block(one)] for one in (found, claim))
        yield f"has volumeMode {has}, and the claim asks for {wanted}"
    modes = meta.spec(found).get("accessModes") or []
    missing = [mode for mode in meta.spec(claim).get("accessModes") or () if mode not in modes]
    if missing:
        yield f"has access modes {', '.join(modes)}, and the claim asks for {', '.join(missing)}"
    if volume.capacity(found) < volume.request(claim):
        size = (meta.spec(found).get("capacity") or {}).get("storage", "0")
        yield f"has {size} ({human(volume.capacity(found))}), and the claim asks for {human(volume.request(claim))}"
    if not selector.fits(meta.spec(claim).get("selector") or {}, meta.labels(found)):
        yield "has not the labels that the claim selects"
    if not volume.is_on(found, node):
        yield f"is not on node {node}"
