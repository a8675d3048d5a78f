"""Runs inside a sandbox and tries to get out. Prints, for each way, what it reached.

It runs as a worker does: as a program of its own, with nothing but the standard library. Its one argument is JSON:
what to look for, and where.
"""

import ctypes
import json
import os
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x00020000
PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206


def refused(result: int) -> str:
    return "" if result >= 0 else os.strerror(ctypes.get_errno())


def read_paths(paths: list[str]) -> str:
    """Every path, plainly and through the doors that /proc offers."""
    doors = [
        "",
        "/proc/1/root",
        "/proc/self/root",
        "/proc/1/cwd",
        "/data/..",
        "/../../..",
        "/oldroot",
        "/newroot",
    ]
    found = []
    for door in doors:
        for path in paths:
            try:
                found.append(f"{door}{path}: {Path(door + path).read_bytes()[:40]!r}")
            except OSError:
                continue
    return "; ".join(found)


def open_by_handle(handle: str, anchor: str) -> str:
    """A file of another claim, by the handle that the host gave us."""
    raw = bytes.fromhex(handle)
    mount = os.open(anchor, os.O_RDONLY)
    file = LIBC.open_by_handle_at(mount, ctypes.create_string_buffer(raw, len(raw)), os.O_RDONLY)
    return "" if file < 0 else f"opened {os.read(file, 40)!r}"


def with_a_user_namespace(attempt: Callable[[], str]) -> str:
    """The same as root of a user namespace of our own, in a child."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        said = "" if LIBC.unshare(CLONE_NEWUSER | CLONE_NEWNS) else attempt()
        os.write(write_end, said.encode())
        os._exit(0)
    os.close(write_end)
    os.waitpid(child, 0)
    with os.fdopen(read_end) as said_file:
        return said_file.read()


def mount_devices(devices: list[str]) -> str:
    """The host's file systems, from block devices that we make ourselves."""
    LIBC.mount(b"none", b"/", None, 1 << 18 | 1 << 14, None)  # private, where we may
    for number, device in enumerate(devices):
        node = f"/tmp/disk{number}"
        try:
            major, minor = map(int, device.split(":"))
            os.mknod(node, stat.S_IFBLK | 0o600, os.makedev(major, minor))
        except OSError:
            continue
        return f"made a node for {device}"
    return mounted([("/dev/vda", "ext4"), ("/dev/sda", "ext4"), ("/dev/vda1", "ext4")])


def mounted(sources: list[tuple[str, str]]) -> str:
    return "; ".join(
        name for name, kind in sources if LIBC.mount(name.encode(), b"/tmp", kind.encode(), 0, None) == 0
    )


def remount() -> str:
    """What is read-only, made writable."""
    ms_remount, ms_bind = 32, 4096
    if LIBC.mount(b"none", b"/usr", None, ms_remount | ms_bind, None) == 0:
        return "remounted /usr"
    return ""


def make_character_device() -> str:
    try:
        os.mknod("/data/mem", stat.S_IFCHR | 0o600, os.makedev(1, 1))
    except OSError:
        return ""
    return "made /dev/mem"


def trace(pids: list[int]) -> str:
    return "; ".join(
        f"{request} of {pid}"
        for pid in pids
        for request in (PTRACE_ATTACH, PTRACE_SEIZE)
        if LIBC.ptrace(request, pid, None, None) == 0
    )


def send_signals(pids: list[int]) -> str:
    reached = []
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            continue
        reached.append(str(pid))
    return "; ".join(reached)


def see_processes(marks: list[str]) -> str:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        found += [
            mark for mark in marks if mark[::-1].encode() in words
        ]  # turned round: our own arguments name them
    return "; ".join(found)


def gain_rights() -> str:
    said = {
        line.split(":")[0]: line.split(":")[1].split()
        for line in Path("/proc/self/status").read_text().splitlines()
    }
    caps = [name for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb") if int(said[name][0], 16)]
    if said["NoNewPrivs"] != ["1"]:
        caps.append("NoNewPrivs")
    if os.getuid() != 107 or os.getgid() != 107:
        caps.append(f"uid {os.getuid()}")
    for change in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0])):
        try:
            change()
        except OSError:
            continue
        caps.append("became another")
    return "; ".join(caps)


def main(wanted: dict[str, Any]) -> dict[str, str]:
    def by_handle() -> str:
        return open_by_handle(wanted["handle"], "/data")

    return {
        "read files of the host": read_paths(wanted["paths"]),
        "open another claim by its handle": by_handle(),
        "open another claim by its handle, as root of a user namespace": with_a_user_namespace(by_handle),
        "mount a device of the host": mount_devices(wanted["devices"]),
        "mount a device, as root of a user namespace": with_a_user_namespace(
            lambda: mount_devices(wanted["devices"])
        ),
        "mount anything": mounted([("tmpfs", "tmpfs"), ("proc", "proc"), ("none", "devpts")]),
        "remount /usr writable": remount(),
        "remount /usr writable, as root of a user namespace": with_a_user_namespace(remount),
        "make a device node": make_character_device(),
        "trace a process of the host": trace(wanted["pids"]),
        "signal a process of the host": send_signals(wanted["pids"]),
        "see a process of the host": see_processes(wanted["marks"]),
        "gain rights": gain_rights(),
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
