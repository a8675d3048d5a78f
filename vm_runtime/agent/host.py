"""Whether KVM really runs guests here: a tiny machine has to do what a kernel does in its first second.

That /dev/kvm can be opened says little: under some hypervisors it can be, and every real kernel hangs in it.
"""

import json
import os
import subprocess
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

DEVICE: Final = Path("/dev/kvm")
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
EMULATOR: Final = "qemu-system-x86_64"
PATIENCE: Final = 5.0
"""Seconds; a machine that works needs a tenth of one."""

_PROGRAM: Final = Path(__file__).with_name("probe.bin")
_ROM_SIZE: Final = 64 << 10
"""Firmware ends where the processor starts, and comes in such steps (hw/i386/x86.c of qemu)."""
_SUCCESS: Final = 42 << 1 | 1
"""What isa-debug-exit makes of the 42 that the program writes."""
_EVERYONE: Final = 0o006
"""Of a device's mode: all may read and write."""
_STOPPED: Final = "KVM internal error"


@dataclass(frozen=True)
class Acceleration:
    """Whether guests can run on the processor itself, and how we know."""

    kvm: bool
    reason: str
    """A sentence for the user; where KVM does not work, what to do about it."""


def acceleration(cache: Path | None = None) -> Acceleration:
    """What the probe finds. `cache` is a file that keeps it for as long as the machine runs."""
    unusable = _unusable()
    if unusable:
        return Acceleration(kvm=False, reason=unusable)
    boot = BOOT_ID.read_text().strip()
    found = _kept(cache, boot) if cache else None
    if found is None:
        found = probed("kvm")
        if cache:
            cache.write_text(json.dumps({"boot": boot, **asdict(found)}))
    return for_guests(found, DEVICE.stat().st_mode, root=os.geteuid() == 0)


def probed(accelerator: str) -> Acceleration:
    """What a tiny machine does under this accelerator of qemu; `tcg` shows that the program itself is sound."""
    with tempfile.TemporaryDirectory(prefix="diskyard-") as work:
        rom = Path(work, "rom")
        rom.write_bytes(_PROGRAM.read_bytes().rjust(_ROM_SIZE, b"\0"))
        try:
            code, complaint = _run(accelerator, rom)
        except FileNotFoundError:
            return Acceleration(kvm=False, reason=f"{EMULATOR} is not installed")
    if code == _SUCCESS:
        return Acceleration(kvm=True, reason="a machine ran on it, with paging, interrupts and user mode")
    ending = complaint or (f"it ended with code {code}" if code >= 0 else "it hung")
    return Acceleration(
        kvm=False,
        reason=f"{DEVICE} opens, but a tiny machine does not get through its first second on it ({ending}): "
        "usual inside a virtual machine whose host offers no nested virtualization",
    )


def _unusable() -> str:
    if not DEVICE.exists():
        return f"{DEVICE} does not exist: the processor, its firmware or this machine's host offers no virtualization"
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return f"{DEVICE} may not be opened by this user: sudo usermod -aG kvm $USER, then log in again"
    return ""


def for_guests(found: Acceleration, mode: int, *, root: bool) -> Acceleration:
    """The same, unless root tried a device that guests, which never run as root, may not open."""
    if found.kvm and root and mode & _EVERYONE != _EVERYONE:
        return Acceleration(
            kvm=False,
            reason=f"{DEVICE} works, but only for some users (mode {mode & 0o777:04o}), and guests are not root: "
            f"sudo chmod 0666 {DEVICE} (for good: a udev rule with MODE=0666, as systemd has it)",
        )
    return found


def _kept(cache: Path, boot: str) -> Acceleration | None:
    try:
        kept = json.loads(cache.read_text())
        if kept["boot"] == boot:
            return Acceleration(kvm=kept["kvm"] is True, reason=str(kept["reason"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None


def _run(accelerator: str, rom: Path) -> tuple[int, str]:
    """The exit code (negative: killed) and the first thing that qemu complained about."""
    command = [
        EMULATOR,
        "-machine",
        "q35",
        "-accel",
        accelerator,
        "-m",
        "16",
        "-nodefaults",
        "-display",
        "none",
    ]
    command += ["-cpu", "host" if accelerator == "kvm" else "max", "-bios", str(rom), "-no-reboot"]
    command += ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
    complaint = ""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, errors="replace"
    ) as machine:
        deadline = threading.Timer(PATIENCE, machine.kill)
        deadline.start()
        try:
            for line in machine.stderr or ():
                if not complaint and "warning:" not in line:
                    complaint = line.strip().removeprefix(f"{EMULATOR}: ")
                if (
                    _STOPPED in line
                ):  # the machine stands still from here on, and qemu waits for someone to look
                    machine.kill()
            return machine.wait(), complaint
        finally:
            deadline.cancel()
            machine.kill()
