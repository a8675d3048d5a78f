"""kill -9 of the importer at random bytes: is the disk the same, and how much is fetched again?

python benchmarks/kill.py [RUNS]     (200 without it; each kills one to three importers and lets the next one finish)
"""

import base64
import gzip
import os
import random
import sys
import tempfile
from pathlib import Path
from statistics import median

from tests.disk.images import converted
from tests.faults.kills import crash
from tests.importer.conftest import Pod

RUNS = 200
MIB = 1 << 20
DISK = 160 * MIB
GOAL = 64
KINDS = {"raw": 6, "qcow2": 5, "qcow2 zlib": 5, "vmdk": 2, "raw.gz": 2}
"""Kind -> its part of the runs, in twentieths."""


def main(runs: int, seed: int) -> None:
    chance = random.Random(seed)
    print(f"{runs} runs of a disk of {DISK // MIB} MiB, seed {seed}\n")
    print(f"{'kind':<12}{'runs':>6}{'same disk':>11}{'again for each kill':>22}{'most':>11}    goal")
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder)
        disk = _images(images)
        for kind, part in KINDS.items():
            body = (images / kind).read_bytes()
            found = [_run(body, disk, chance) for _ in range(max(1, runs * part // 20))]
            again = [each / MIB for same, each in found if same]
            goal = "" if kind == "raw.gz" else f"<= {GOAL} MiB: {'met' if max(again) <= GOAL else 'MISSED'}"
            print(
                f"{kind:<12}{len(found):>6}{len(again):>11}{median(again):>18.1f} MiB{max(again):>7.1f} MiB    {goal}",
                flush=True,
            )


def _images(folder: Path) -> bytes:
    disk = folder / "raw"
    disk.write_bytes(base64.b64encode(os.urandom(DISK * 3 // 4)))
    converted(disk, folder / "qcow2", "qcow2")
    converted(disk, folder / "qcow2 zlib", "qcow2", "-c")
    converted(disk, folder / "vmdk", "vmdk", "-o", "subformat=streamOptimized")
    (folder / "raw.gz").write_bytes(gzip.compress(disk.read_bytes(), 1))
    return disk.read_bytes()


def _run(body: bytes, disk: bytes, chance: random.Random) -> tuple[bool, int]:
    """Whether the disk is the same, and the bytes that were sent more than once, for each kill."""
    times = chance.choice((1, 1, 2, 3))
    with tempfile.TemporaryDirectory() as folder:
        pod = Pod(Path(folder))
        found = crash(pod, body, chance.randrange(times, len(body) - MIB), times)
        return pod.disk.read_bytes() == disk, found.again // times


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS, random.SystemRandom().randrange(1 << 32))
