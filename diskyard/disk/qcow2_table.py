"""The tables of a qcow2 image: where its clusters are. Pure.

Source of the layout: QEMU, docs/interop/qcow2.rst ("Cluster mapping", "Extended L2 entries").
"""

import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from diskyard.disk.qcow2_format import EXTENDED_L2, Header
from diskyard.errors import UnsupportedImage

_OFFSET: Final = 0x00FFFFFFFFFFFE00
_COMPRESSED: Final = 1 << 62
_ZERO: Final = 1
_SUBCLUSTERS: Final = 32


@dataclass(frozen=True, slots=True)
class Run:
    """Bytes of the image that are bytes of the disk: `length` of them, or what one cluster unpacks from."""

    guest: int
    host: int
    length: int
    """In the image."""
    packed: bool = False

    @property
    def end(self) -> int:
        """The first byte of the image behind it."""
        return self.host + self.length


def damaged(what: str) -> UnsupportedImage:
    """The error for an image that contradicts itself."""
    return UnsupportedImage(
        f"the qcow2 image is damaged or cut short: {what}. Check it with qemu-img check, or export it again"
    )


def l2_places(header: Header, l1: bytes) -> "tuple[array[int], array[int]]":
    """Where the L2 tables lie, in the image's order, and the L1 entry that points to each: 12 bytes for a table."""
    places = array("Q", (entry & _OFFSET for entry in _words(l1)[: header.tables]))
    for index, place in enumerate(places):
        if place % header.cluster:
            raise damaged(f"the L2 table of L1 entry {index} lies at {place}, not at the start of a cluster")
    order = sorted((index for index, place in enumerate(places) if place), key=places.__getitem__)
    return array("Q", (places[index] for index in order)), array("I", order)


def runs(header: Header, index: int, table: bytes) -> Iterator[Run]:
    """What the L2 table of an L1 entry maps, in the disk's order; zeros and holes left out."""
    if len(table) < header.cluster:
        raise damaged(f"the L2 table of L1 entry {index} is not all there")
    held: Run | None = None
    for run in _clusters(header, index * header.l2_entries * header.cluster, _words(table)):
        if held and not held.packed and not run.packed and _follows(held, run):
            held = Run(held.guest, held.host, held.length + run.length)
            continue
        if held:
            yield held
        held = run
    if held:
        yield held


def _clusters(header: Header, start: int, words: "array[int]") -> Iterator[Run]:
    wide = bool(header.incompatible & EXTENDED_L2)
    entries = words[::2] if wide else words
    bits = header.cluster_bits - 8
    for place, entry in enumerate(entries):
        guest = start + place * header.cluster
        if guest >= header.size:
            return
        if entry & _COMPRESSED:
            host = entry & ((1 << (62 - bits)) - 1)
            sectors = (entry >> (62 - bits) & ((1 << bits) - 1)) + 1
            yield Run(guest, host, sectors * 512 - host % 512, packed=True)
            continue
        host = entry & _OFFSET
        if host % header.cluster:
            raise damaged(f"the cluster of disk offset {guest} lies at {host}, not at the start of a cluster")
        if wide:
            yield from _subclusters(header, guest, host, words[2 * place + 1])
        elif host and not entry & _ZERO:
            yield Run(guest, host, min(header.cluster, header.size - guest))


def _subclusters(header: Header, guest: int, host: int, bitmap: int) -> Iterator[Run]:
    """Low half of the bitmap: allocated; high half: reads as zeros."""
    size = header.cluster // _SUBCLUSTERS
    for place in range(_SUBCLUSTERS):
        at = place * size
        if (
            host
            and bitmap >> place & 1
            and not bitmap >> (place + _SUBCLUSTERS) & 1
            and guest + at < header.size
        ):
            yield Run(guest + at, host + at, min(size, header.size - guest - at))


def _follows(held: Run, run: Run) -> bool:
    return held.end == run.host and held.guest + held.length == run.guest


def _words(table: bytes) -> "array[int]":
    words = array("Q", table[: len(table) // 8 * 8])
    if sys.byteorder == "little":
        words.byteswap()
    return words
