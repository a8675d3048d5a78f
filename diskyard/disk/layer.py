"""What one qcow2 image of a chain holds of its own: what has changed of the disk below it.

Its tables are read where they lie, so nothing of it is kept. Source of the layout: QEMU, docs/interop/qcow2.rst.
"""

import sys
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from threading import Lock
from typing import Final

from diskyard.disk.extent import Extent, coalesced
from diskyard.disk.image import Image
from diskyard.disk.inspect import Window, layer
from diskyard.disk.qcow2_format import EXTENDED_L2
from diskyard.disk.qcow2_table import damaged
from diskyard.errors import UnsupportedImage

_OFFSET: Final = 0x00FFFFFFFFFFFE00
_COMPRESSED: Final = 1 << 62
_ZERO: Final = 1
_KEPT: Final = 16
"""Tables that are kept: pieces are read soon after their extents are told."""


class Layer:
    """The changes that a qcow2 image makes to its backing file: extents leave out what it does not hold."""

    def __init__(self, image: Image) -> None:
        """`image`: the bytes of the qcow2 image. Raises UnsafeImage, UnsupportedImage."""
        self._image = image
        self._header, self.backing = layer(Window(self._bytes, image.size, whole=True))
        """`backing`: the name of the image below; empty where there is none."""
        if self._header.incompatible & EXTENDED_L2:
            raise UnsupportedImage(
                "the qcow2 layer has subclusters (extended L2), which no oVirt host writes"
            )
        self.size = self._header.size
        self._l1 = _words(self._bytes(self._header.l1_offset, 8 * self._header.l1_entries))
        self._tables: OrderedDict[int, array[int]] = OrderedDict()
        self._lock = Lock()

    def extents(self) -> Iterator[Extent]:
        return coalesced(self._clusters())

    def preadinto(self, buf: memoryview, offset: int) -> None:
        done = 0
        while done < len(buf):
            host, length = self._run(offset + done, len(buf) - done)
            there = max(0, min(length, self._image.size - host))
            if there:
                self._image.preadinto(buf[done : done + there], host)
            buf[done + there : done + length] = bytes(length - there)  # the last cluster may be cut short
            done += length

    def _clusters(self) -> Iterator[Extent]:
        cluster, span = self._header.cluster, self._header.cluster * self._header.l2_entries
        for index in range(-(-self.size // span)):
            for place, entry in enumerate(self._table(index)):
                guest = index * span + place * cluster
                if guest >= self.size:
                    return
                if entry & _COMPRESSED:
                    raise UnsupportedImage("the qcow2 layer is compressed, which no oVirt host writes")
                if entry & (_ZERO | _OFFSET):
                    yield Extent(guest, min(cluster, self.size - guest), bool(entry & _ZERO))

    def _run(self, guest: int, most: int) -> tuple[int, int]:
        """Where the bytes from `guest` on lie, and how many of them in one run."""
        cluster, span = self._header.cluster, self._header.cluster * self._header.l2_entries
        table = self._table(guest // span)
        place, within = guest % span // cluster, guest % cluster
        start = table[place] & _OFFSET
        length = cluster - within
        while length < most and place + 1 < len(table):
            place += 1
            if table[place] & _OFFSET != start + within + length:
                break
            length += cluster
        if start % cluster or start >= self._image.size:
            raise damaged(f"the cluster of disk offset {guest} lies at {start} of {self._image.size} bytes")
        return start + within, min(length, most)

    def _table(self, index: int) -> "array[int]":
        """The L2 table of an L1 entry; empty where that part of the disk has not changed."""
        with self._lock:
            found = self._tables.get(index)
            if found is not None:
                self._tables.move_to_end(index)
                return found
        place = self._l1[index] & _OFFSET
        if place % self._header.cluster or place + self._header.cluster > self._image.size:
            raise damaged(f"the L2 table of L1 entry {index} lies at {place} of {self._image.size} bytes")
        table = _words(self._bytes(place, self._header.cluster)) if place else array("Q")
        with self._lock:
            self._tables[index] = table
            while len(self._tables) > _KEPT:
                self._tables.popitem(last=False)
        return table

    def _bytes(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self._image.size - offset))
        held = bytearray(length)
        if length:
            self._image.preadinto(memoryview(held), offset)
        return bytes(held)


def _words(table: bytes) -> "array[int]":
    words = array("Q", table[: len(table) // 8 * 8])
    if sys.byteorder == "little":
        words.byteswap()
    return words
