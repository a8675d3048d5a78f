"""One run of one tool: what it cost, and that its disk is the image's."""

import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from servers import Home

OURS: Final = "diskyard import"
PATIENCE: Final = 300
_PERIOD: Final = 0.1
_READ: Final = 4 << 20
_INSTALLED: Final = {"PYTHONDONTWRITEBYTECODE": ""}
"""An installation has its bytecode; a working tree keeps what the first run made."""


@dataclass(frozen=True)
class Run:
    """Seconds, bytes; a code other than 0 says that it failed, or was ended after too long."""

    code: int
    wall: float
    cpu: float
    resident: int
    scratch: int = 0
    requests: int = 0


def imported(home: Home, target: Path) -> list[str]:
    """The command of ours that makes `target`."""
    program = str(Path(sys.executable).with_name("diskyard"))
    return [program, "import", "--json", *home.options, home.source, str(target)]


def peer(script: str) -> list[str]:
    """The command that runs a peer's script."""
    return ["/bin/bash", "-euo", "pipefail", "-c", script]


def run(command: list[str], folder: Path, env: dict[str, str], patience: float = PATIENCE) -> Run:
    """Run a command whose disk becomes `folder`/disk.img; everything else there is scratch."""
    whole = (
        os.environ
        | env
        | _INSTALLED
        | {"TARGET": str(folder / "disk.img"), "SCRATCH": str(folder), "TMPDIR": str(folder)}
    )
    with _Watch(folder) as watch:
        process = started(command, whole, patience, folder / "output")
        try:
            done = process.communicate()[0]
        finally:
            process.terminate()
    target = _allocated(folder / "disk.img")
    return Run(**json.loads(done), scratch=max(0, watch.peak - target))


def started(
    command: list[str], env: dict[str, str], patience: float = PATIENCE, output: Path = Path(os.devnull)
) -> "subprocess.Popen[str]":
    """A measured command on its way; it says what it cost on its standard output."""
    measured = str(Path(__file__).with_name("measured.py"))
    whole = [sys.executable, "-I", "-S", measured, str(patience), str(output), *command]
    return subprocess.Popen(whole, env=env, stdout=subprocess.PIPE, text=True)


def environment(home: Home, form: str, folder: Path) -> dict[str, str]:
    """What the scripts of peers, and we, are told."""
    options = folder / "curl"
    options.write_text(home.curl)
    return {**home.env, "URL": home.url, "FORMAT": form, "CURL": str(options), "BLOB": home.blob}


def emptied(folder: Path) -> Path:
    """The folder, with nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def settle(image: Path) -> None:
    """Have an image, or a folder of them, in the page cache, and nothing of a tool before still on its way to the disk.

    A peer that writes 10 GiB pushes the image out of it; some kernels give back what was not used for a minute.
    """
    os.sync()
    buf = bytearray(_READ)
    for path in [image] if image.is_file() else image.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.readinto(buf):
                    pass


def check(disk: Path, oracle: tuple[Path, str]) -> None:
    """Raises CalledProcessError if the disk is not what qemu-img reads in the image."""
    image, form = oracle
    compare = ["qemu-img", "compare", "-f", "raw", "-F", form, str(disk), str(image)]
    subprocess.run(compare, check=True, stdout=subprocess.DEVNULL)


class _Watch:
    """How much of the disk a folder takes at most."""

    def __init__(self, folder: Path) -> None:
        self.peak = 0
        self._folder = folder
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        ended = False
        while not ended:
            ended = self._ended.wait(_PERIOD)
            self.peak = max(self.peak, sum(map(_allocated, self._folder.rglob("*"))))


def _allocated(path: Path) -> int:
    """Bytes that a file takes; none if it has gone."""
    try:
        return path.lstat().st_blocks * 512 if path.is_file() else 0
    except FileNotFoundError:
        return 0
