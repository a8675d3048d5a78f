"""libvirt's daemon of one guest: in session mode, in directories of its own, gone with its launcher."""

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from diskyard.errors import GuestFailed

PROGRAMS: Final = ("virtqemud", "libvirtd")
"""The modular daemon where there is one, else the old one that does everything."""
QEMU_CONF: Final = """\
# Output of the emulator goes to a file, so that no log daemon is needed.
stdio_handler = "file"
security_driver = "none"
remember_owner = 0
"""
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
START_TIMEOUT: Final = 30.0
STOP_TIMEOUT: Final = 5.0


class Daemon:
    """The process and the socket by which to reach it."""

    def __init__(self, directory: Path, on_end: Callable[[], None]) -> None:
        self._directory = directory
        self._on_end = on_end
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        if self._process:
            _end(self._process)

    @property
    def uri(self) -> str:
        """What libvirt's clients open."""
        return f"qemu+unix:///session?socket={self._socket}"

    @property
    def tpms(self) -> Path:
        """The directory in which it keeps what emulated TPMs hold; made by the first of them."""
        return self._directory / "etc/libvirt/qemu/swtpm"

    def start(self) -> None:
        """Begin to start it; `wait` says when it answers. Raises GuestFailed."""
        program = next((path for name in PROGRAMS if (path := shutil.which(name, path=PATH))), None)
        if not program:
            raise GuestFailed(
                f"none of {', '.join(PROGRAMS)} is installed here: install libvirt's daemon with its qemu driver"
            )
        for part in ("etc/libvirt/qemu", "cache", "run", "lib"):
            (self._directory / part).mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._directory / "etc/libvirt/qemu.conf").write_text(QEMU_CONF)
        self._socket.unlink(missing_ok=True)
        self._process = subprocess.Popen([program], env=self._environment(), stdin=subprocess.DEVNULL)
        threading.Thread(target=self._watch, args=(self._process,), name="daemon", daemon=True).start()

    def kill(self) -> None:
        """Have it gone at once, as it does not answer; that it has ended is told."""
        if self._process:
            self._process.kill()

    def wait(self) -> None:
        """Return once it answers. Raises GuestFailed."""
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            ended = self._process.poll() if self._process else 0
            if ended is not None:
                raise GuestFailed(
                    f"libvirt's daemon ended with code {ended} while it started: see daemon.log"
                )
            if time.monotonic() > deadline:
                raise GuestFailed(f"libvirt's daemon did not answer within {START_TIMEOUT:.0f} seconds")
            time.sleep(0.01)

    @property
    def _socket(self) -> Path:
        name = "virtqemud-sock" if shutil.which("virtqemud", path=PATH) else "libvirt-sock"
        return self._directory / "run/libvirt" / name

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            return probe.connect_ex(str(self._socket)) == 0

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": PATH,
            "HOME": str(self._directory),
            "XDG_RUNTIME_DIR": str(self._directory / "run"),
            "XDG_CONFIG_HOME": str(self._directory / "etc"),
            "XDG_CACHE_HOME": str(self._directory / "cache"),
            "XDG_DATA_HOME": str(self._directory / "lib"),
            # What it misses in a sandbox (dbus, dnsmasq, udev) would fill the guest's log.
            "LIBVIRT_LOG_OUTPUTS": f"3:file:{self._directory / 'daemon.log'}",
            "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
        }

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        if not self._closing:
            self._on_end()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
