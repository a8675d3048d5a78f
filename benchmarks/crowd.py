"""1, 4 and 16 imports at once: what all of them together write in a second must not fall."""

import json
import os
import time
from pathlib import Path
from statistics import median
from typing import Final

from images import CACHE
from runner import emptied, imported, started
from servers import Home, Servers

SIZES: Final = (1, 4, 16)
MIB: Final = 1 << 20
GOAL: Final = 0.95
"""Of the throughput of one import; 0.05 are noise."""


def crowd(house: Servers, rounds: int) -> dict[int, float]:
    """Imports at once -> MiB of disks in a second, the median; printed too."""
    home, data = house.home("plain", "zlib.qcow2"), house.shelf.image("disk.raw").stat().st_blocks * 512
    found: dict[int, list[float]] = {size: [] for size in SIZES}
    for _ in range(rounds):
        for size in SIZES:
            found[size].append(size * data / MIB / _together(home, size))
    throughput = {size: median(speeds) for size, speeds in found.items()}
    print("\nqcow2 zlib, several imports at once  [crowd, small]")
    for size, speed in throughput.items():
        share = speed / throughput[1]
        print(
            f"  {size:>2} at once {speed:>10.0f} MiB/s{share:>8.2f}x  {'met' if share >= GOAL else 'MISSED'}"
        )
    return throughput


def _together(home: Home, size: int) -> float:
    """Seconds until the last of them has ended."""
    folder = emptied(CACHE / "work")
    begun = time.monotonic()
    imports = [
        started(imported(home, Path(folder, f"{index}.img")), dict(os.environ)) for index in range(size)
    ]
    ends = [json.loads(each.communicate()[0])["code"] for each in imports]
    seconds = time.monotonic() - begun
    assert not any(ends), f"expected every import to end with 0, found {ends}"
    emptied(folder)
    return seconds
