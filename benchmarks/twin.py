"""The machine of a guest that runs, for a plain qemu: the same board and devices, nothing of ours behind them."""

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

_KEPT: Final = (
    "-machine",
    "-accel",
    "-cpu",
    "-m",
    "-overcommit",
    "-smp",
    "-smbios",
    "-rtc",
    "-boot",
    "-global",
)
_SERIAL: Final = "isa-serial"


def twin(command: Sequence[str], disk: Path) -> list[str]:
    """What starts a qemu like the one that libvirt started by `command`: on that raw disk, its console on stdout."""
    found = [command[0], "-nodefaults", "-no-user-config", "-display", "none"]
    for option, value in pairwise(command):
        if option in _KEPT or (option == "-object" and "memory-backend" in value):
            found += [option, value]
        elif option == "-device":
            found += [*_behind(json.loads(value), disk), option, value]
    return found


def _behind(device: dict[str, str], disk: Path) -> Iterator[str]:
    if "drive" in device:
        file = {"driver": "file", "filename": str(disk)}
        yield from ("-blockdev", json.dumps({"driver": "raw", "node-name": device["drive"], "file": file}))
    if "netdev" in device:
        yield from ("-netdev", f"user,id={device['netdev']}")
    if "chardev" in device:
        kind = "stdio,signal=off" if device["driver"] == _SERIAL else "null"
        yield from ("-chardev", f"{kind},id={device['chardev']}")
