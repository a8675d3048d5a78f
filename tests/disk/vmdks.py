"""streamOptimized vmdk images as exports write them: tables behind their grains, the directory at the end."""

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

SECTOR = 512
GRAINS_A_TABLE = 512
AT_END = (1 << 64) - 1
OVERHEAD = 128
DESCRIPTOR = b"""# Disk DescriptorFile
version=1
CID=12345678
parentCID=ffffffff
createType="streamOptimized"
RW %d SPARSE "disk.vmdk"
ddb.adapterType = "lsilogic"
"""


@dataclass
class Export:
    """An image that is being written, unit by unit."""

    size: int
    grain: int = 128
    """In sectors."""
    level: int = 1
    image: bytearray = field(default_factory=bytearray)
    tables: dict[int, list[int]] = field(default_factory=dict)
    places: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.image += self.header(AT_END)
        self.image += (DESCRIPTOR % (self.size // SECTOR)).ljust((OVERHEAD - 1) * SECTOR, b"\0")

    def header(self, directory: int) -> bytes:
        packed = struct.pack(
            "<4sIIQQQQIQQQB4sH", b"KDMV", 3, 0x30001, self.size // SECTOR, self.grain, 1, 20, GRAINS_A_TABLE, 0,
            directory, OVERHEAD, 0, b"\n \r\n", 1,
        )  # fmt: skip
        return packed.ljust(SECTOR, b"\0")

    def put(self, number: int, content: bytes) -> None:
        """One grain."""
        self.tables.setdefault(number // GRAINS_A_TABLE, [0] * GRAINS_A_TABLE)[number % GRAINS_A_TABLE] = (
            len(self.image) // SECTOR
        )
        packed = zlib.compress(content, self.level)
        self._append(struct.pack("<QI", number * self.grain, len(packed)) + packed)

    def close_table(self, number: int) -> None:
        """The table of the grains that were put."""
        self._mark(1, 4)
        self.places[number] = len(self.image) // SECTOR
        self._append(struct.pack(f"<{GRAINS_A_TABLE}I", *self.tables.pop(number)))

    def finish(self) -> bytes:
        """Directory, footer and end."""
        for number in sorted(self.tables):
            self.close_table(number)
        count = -(-self.size // (self.grain * SECTOR * GRAINS_A_TABLE))
        directory = struct.pack(f"<{count}I", *(self.places.get(number, 0) for number in range(count)))
        self._mark(2, -(-len(directory) // SECTOR))
        place = len(self.image) // SECTOR
        self._append(directory)
        self._mark(3, 1)
        self._append(self.header(place))
        self._mark(0, 0)
        return bytes(self.image)

    def _mark(self, kind: int, sectors: int) -> None:
        self._append(struct.pack("<QII", sectors, 0, kind))

    def _append(self, unit: bytes) -> None:
        self.image += unit.ljust(-(-len(unit) // SECTOR) * SECTOR, b"\0")


def exported(disk: bytes, *, grain: int = 128, order: Sequence[int] | None = None) -> bytes:
    """A whole disk, without the grains that are zero; `order`: of the grains, each table after its last one."""
    export = Export(len(disk), grain)
    length = grain * SECTOR
    numbers = range(-(-len(disk) // length)) if order is None else order
    written = [n for n in numbers if any(disk[n * length : (n + 1) * length])]
    for step, number in enumerate(written):
        export.put(number, disk[number * length : (number + 1) * length].ljust(length, b"\0"))
        table = number // GRAINS_A_TABLE
        if not _more(written[step + 1 :], table):
            export.close_table(table)
    return export.finish()


def _more(numbers: Iterable[int], table: int) -> bool:
    return any(number // GRAINS_A_TABLE == table for number in numbers)
