"""Block claims: a sparse file behind a loop device. Needs root."""

import json
import os
import subprocess
from pathlib import Path
from typing import Final

from diskyard.errors import Passing

BACKING_FILE: Final = "disk.img"


def attached(volume: Path) -> Path:
    """The loop device of a volume, attached where it is not (the first time, or since the machine's last start)."""
    backing = volume / BACKING_FILE
    found = _devices(backing)
    if found:
        return found[0]
    return Path(_run("losetup", "--find", "--show", "--direct-io=off", str(backing)).strip())


def grow(volume: Path) -> None:
    """Have the loop device of a volume see that its file has grown, if it has one."""
    for device in _devices(volume / BACKING_FILE):
        _run("losetup", "--set-capacity", str(device))


def flush(volume: Path) -> None:
    """Have what was written to the loop device of a volume be in its file, if it has one."""
    for device in _devices(volume / BACKING_FILE):
        fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def detach(volume: Path) -> None:
    """Release the loop device of a volume, if it has one."""
    for device in _devices(volume / BACKING_FILE):
        _run("losetup", "--detach", str(device))


def release(folder: Path) -> None:
    """Release every loop device whose file is, or was, below a folder; one in use goes with its last user."""
    for device, backing in _listed():
        if backing.is_relative_to(folder):
            _run("losetup", "--detach", str(device))


def _devices(backing: Path) -> list[Path]:
    return [device for device, _ in _listed("--associated", str(backing))]


def _listed(*options: str) -> list[tuple[Path, Path]]:
    """Loop devices, each with its file."""
    if os.geteuid() != 0:
        return []
    text = _run("losetup", "--json", "--list", "--output", "NAME,BACK-FILE", *options)
    entries = json.loads(text)["loopdevices"] if text.strip() else []
    return [(Path(entry["name"]), Path(entry["back-file"] or "")) for entry in entries]


def _run(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError as error:
        raise Passing(
            f"{command[0]} is not installed: it attaches block volumes (package util-linux)"
        ) from error
    except subprocess.CalledProcessError as error:
        raise Passing(f"{' '.join(command)} failed: {error.stderr.strip()}") from error
