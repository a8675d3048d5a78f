"""The numbers of SPECIFICATION.md that are about time and memory, measured here and now.

python benchmarks/run.py [ROUNDS]     (make bench; needs nothing but `make setup`)
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import mainline
import startup

from demo import image
from demo.yard import yard
from vm_runtime.agent.host import acceleration

ROUNDS = 5
MIB = 1 << 20


def main(rounds: int) -> None:
    print(
        f"medians of {rounds} rounds; guests run {'under KVM' if acceleration().kvm else 'emulated'}\n",
        flush=True,
    )
    starts = [startup.start() for _ in range(rounds)]
    served = image.build(image.CACHE)
    with tempfile.TemporaryDirectory() as work:
        disk = Path(work, "disk.img")
        subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", served, disk], check=True)
        plain = [mainline.plain_boot(disk) for _ in range(rounds)]
        with yard(Path(work, "yard")) as running:
            lines = [mainline.line(running, served) for _ in range(rounds)]
    own = [each.greeting - median(plain) for each in lines]
    print()
    _row("measure", ("median", "least", "most"), "goal")
    _show("diskyard up: start to ready", (each.seconds for each in starts), "s", 2)
    _show("diskyard up: resident memory", (each.resident / MIB for each in starts), "MiB", 150)
    _show("apply to the first byte fetched", (each.first_byte for each in lines), "s", 1.5)
    _show("apply to the guest's first words", (each.greeting for each in lines), "s", None)
    _show("the same disk in a plain qemu", plain, "s", None)
    _show("apply to first words, without qemu's", own, "s", 3)


def _show(name: str, numbers: Iterable[float], unit: str, goal: float | None) -> None:
    found = sorted(numbers)
    words = [
        f"{number:.2f} {unit}" if unit == "s" else f"{number:.0f} {unit}"
        for number in (median(found), found[0], found[-1])
    ]
    met = "" if goal is None else f"< {goal:g} {unit}: {'met' if median(found) < goal else 'MISSED'}"
    _row(name, words, met)


def _row(name: str, words: Iterable[str], goal: str) -> None:
    print(f"{name:<38}" + "".join(f"{word:>12}" for word in words) + f"    {goal}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
