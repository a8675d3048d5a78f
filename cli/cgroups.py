"""Which controllers of control groups this host has: what virt-host-validate asks for, and what each is for here.

The kernel's documentation: cgroup-v1/cgroups.rst, cgroup-v2.rst. Pure but for the reading of files.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/fs/cgroup")
MOUNTS: Final = Path("/proc/self/mounts")
ASKED: Final = ("cpu", "cpuacct", "cpuset", "memory", "devices", "blkio")
"""In virt-host-validate's order (libvirt, virt-host-validate-common.c)."""
_SECOND: Final[Mapping[str, str]] = {"cpuacct": "cpu", "blkio": "io"}
"""What they are called in version 2."""
_BUILT_IN: Final = "devices"
"""In version 2 a program in the kernel (BPF) does its work, wherever there is a version 2."""


def missing(root: Path = ROOT, mounts: Path = MOUNTS) -> Iterator[tuple[str, bool]]:
    """Each controller that is asked for, and whether it is missing."""
    there = _first(mounts) | _second(root)
    for name in ASKED:
        yield name, name not in there


def _first(mounts: Path) -> set[str]:
    """The controllers of version 1: each is an option of its mount."""
    fields = (line.split() for line in mounts.read_text().splitlines())
    return {option for each in fields if each[2] == "cgroup" for option in each[3].split(",")}


def _second(root: Path) -> set[str]:
    for place in (root, root / "unified"):
        listed = place / "cgroup.controllers"
        if listed.exists() and (found := set(listed.read_text().split())):
            return {name for name in ASKED if _SECOND.get(name, name) in found} | {_BUILT_IN}
    return set()
