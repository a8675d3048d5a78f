"""The only place that runs qemu-img: on local files that our inspector has passed, formats always named.

Limits on memory, time and size hold even against an image that is made to cost them.
"""

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from diskyard import linux
from diskyard.disk.probe import Format
from diskyard.disk.space import full
from diskyard.disk.writer import takes_direct
from diskyard.errors import DiskyardError, ImageTooLarge, Passing, UnsupportedImage

_MEMORY: Final = 2 << 30
"""Address space: at 1 GiB qemu-img with 8 coroutines aborted in 2 of 8 runs."""
_PATIENCE: Final = 300
_SLOWEST: Final = 2 << 20
"""Seconds of processor time that any image may cost, and bytes of it that must be done in each further one."""
_PERCENT: Final = re.compile(r"\((\d{1,3}\.\d{2})/100%\)")
logging.getLogger("sh").setLevel(logging.WARNING)
_EXTENT: Final = re.compile(r'"length": (?P<length>\d+),.*"data": true,.*"offset": (?P<offset>\d+)')
_SECTOR: Final = 512
_SOUND: Final = (0, 3, 63)
"""What `qemu-img check` ends with: all is well, something is lost room, or this kind cannot be checked."""
_HEARD: Final = 64
"""Characters of progress that come at once; qemu-img writes 17 for each step."""


def convert(
    image: Path, kind: Format, disk: Path, *, room: int | None, on_percent: Callable[[float], None]
) -> None:
    """Write the disk inside an image to a raw file, or over a block device.

    Raises UnsupportedImage, ImageTooLarge where the disk outgrows `room` bytes, NoSpace, Passing.
    """
    import sh  # 50 ms that only a conversion waits for

    if not linux.is_device(disk):
        disk.touch()
    process = sh.Command("prlimit")(
        *_limits(image, disk, room), "qemu-img", *_arguments(image, kind, disk),
        _bg=True, _bg_exc=False, _out=_Ear(on_percent).hear, _out_bufsize=_HEARD, _decode_errors="replace",
        _env=_surroundings(),
    )  # fmt: skip
    try:
        process.wait()
    except sh.ErrorReturnCode as error:
        raise _refusal(error, image, kind, disk) from error
    finally:
        if process.is_alive():
            process.kill()


def check_whole(image: Path, kind: Format) -> None:
    """Whether all that the image speaks of lies in it: qemu-img converts what is cut off as zeros.

    Raises UnsupportedImage, Passing.
    """
    import sh

    limits, named, reach = _limits(image, image, None), ("-f", str(kind), f"file:{image}"), _Reach()
    try:
        sh.Command("prlimit")(
            *limits, "qemu-img", "check", "-q", *named, _ok_code=_SOUND, _env=_surroundings()
        )
        sh.Command("prlimit")(
            *limits, "qemu-img", "map", "--output=json", *named,
            _out=reach.hear, _out_bufsize=1, _decode_errors="replace", _env=_surroundings(),
        )  # fmt: skip
    except sh.ErrorReturnCode as error:
        raise _refusal(error, image, kind, image) from error
    size = image.stat().st_size
    if reach.end > -(-size // _SECTOR) * _SECTOR:
        raise UnsupportedImage(
            f"the {kind} image is cut off: it speaks of data up to its byte {reach.end}, and ends at {size}. "
            "Fetch or export it again"
        )


def create(path: Path, size: int) -> None:
    """Make an empty qcow2 of `size` bytes. Raises Passing."""
    _make(path, "-f", "qcow2", f"file:{path}", str(size))


def overlay(path: Path, lower: Path) -> None:
    """Make a qcow2 over a raw disk (a file or a block device), which is only read from then on. Raises Passing."""
    protocol = "host_device" if linux.is_device(lower) else "file"
    _make(path, "-f", "qcow2", "-F", "raw", "-b", f"{protocol}:{lower}", f"file:{path}")


def _make(path: Path, *arguments: str) -> None:
    import sh

    try:
        sh.Command("qemu-img")("create", "-q", *arguments)
    except sh.ErrorReturnCode as error:
        path.unlink(missing_ok=True)
        said = error.stderr.decode(errors="replace").strip()[-800:]
        raise Passing(f"qemu-img could not make {path}: {said}") from error


class _Reach:
    """Takes the lines of `qemu-img map`; how far into the file they reach."""

    def __init__(self) -> None:
        self.end = 0

    def hear(self, line: str) -> None:
        if found := _EXTENT.search(line):
            self.end = max(self.end, int(found["length"]) + int(found["offset"]))


class _Ear:
    """Takes qemu-img's progress in pieces of any size, says each percentage once."""

    def __init__(self, on_percent: Callable[[float], None]) -> None:
        self._say = on_percent
        self._heard = ""

    def hear(self, text: str) -> None:
        self._heard += text
        found = _PERCENT.findall(self._heard)
        if found:
            self._say(float(found[-1]))
            self._heard = self._heard[self._heard.rindex(")") + 1 :]


def _arguments(image: Path, kind: Format, disk: Path) -> list[str]:
    device = linux.is_device(disk)
    return [
        "convert", "-p", "-W", "-m", "8", "-f", str(kind), "-O", "raw",
        *(["-t", "none"] if takes_direct(disk) else []),
        *(["-n", f"file:{image}", f"host_device:{disk}"] if device else [f"file:{image}", f"file:{disk}"]),
    ]  # fmt: skip


def _surroundings() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "MALLOC_ARENA_MAX": "1"}


def _limits(image: Path, disk: Path, room: int | None) -> list[str]:
    limits = [f"--as={_MEMORY}", f"--cpu={_PATIENCE + image.stat().st_size // _SLOWEST}", "--core=0"]
    return limits + ([f"--fsize={room}"] if room is not None and not linux.is_device(disk) else [])


def _refusal(error: Any, image: Path, kind: Format, disk: Path) -> DiskyardError:
    said = error.stderr.decode(errors="replace").strip()[-800:] or str(error.exit_code)
    said = said.replace(f"file:{image}", "the image").replace(str(image), "the image")
    if "No space left" in said or "Disk quota exceeded" in said:
        return full(disk, "converting the image")
    if "File too large" in said:
        return ImageTooLarge(
            "the disk inside the image is larger than the reported available storage. A larger PVC is required"
        )
    if "error while writing" in said or "Cannot allocate memory" in said:
        return Passing(f"qemu-img could not convert the {kind} image: {said}")
    return UnsupportedImage(
        f"qemu-img could not convert the {kind} image: {said}. Check it with qemu-img check, or export it again"
    )
