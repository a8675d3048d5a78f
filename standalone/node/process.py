"""A container's life on this machine: started, watched, found again, stopped.

One directory a life (`containers/<name>/<number>/`); what lies in it is described in `supervisor.py`. Nothing is kept
in memory: whoever opens the directory after a restart knows as much as who started the container.
"""

import fcntl
import json
import os
import select
import signal
import struct
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from diskyard.api.job import MESSAGE_LIMIT
from diskyard.errors import Passing
from standalone.node import log, supervisor

START_LIMIT: Final = 20.0
"""Seconds that a supervisor has to come up; it takes about 0.03."""
TERMINATION_LOG: Final = "termination-log"
"""What the container finds as its terminationMessagePath."""
DEATH_LIMIT: Final = 10.0
"""Seconds that a killed process has to disappear; one that waits for a disk may take some."""
LOST: Final = 255
"""Exit code of a container whose end nobody saw, as containerd has it."""
KILLED: Final = 137
"""Exit code of what SIGKILL ended."""
_FLOCK: Final = "hhqqi"
"""struct flock on 64-bit Linux: type, whence, start, length, pid."""


@dataclass(frozen=True)
class Order:
    """What to run."""

    options: Sequence[str]
    """Of bubblewrap."""
    program: Sequence[str]
    env: Mapping[str, str]
    grace: float
    backoff: float
    """Seconds to wait after the end of this life before the next begins."""
    cgroup: str = ""
    """The folder of the control group that it runs in; empty: our own."""
    network: str = ""
    """The network namespace that it runs in, as a file; empty: the host's."""


@dataclass(frozen=True)
class End:
    """How a life ended."""

    code: int
    reason: str
    at: datetime
    message: str = ""
    """Of the container; or why its sandbox could not run; or what is not known."""


@dataclass(frozen=True)
class Life:
    """What is known of one life of a container."""

    number: int
    backoff: float
    started: datetime | None
    end: End | None
    grace: float | None = None
    """Set once it was asked to stop."""

    @property
    def running(self) -> bool:
        """Whether its processes are there."""
        return self.started is not None and self.end is None


def start(directory: Path, order: Order) -> "PidFile":
    """Begin a life, and return its supervisor, a child of ours, once the sandbox is up. Raises Passing.

    For a life that has begun or is over, a supervisor that ends at once.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    bury(directory)
    if not (directory / "spec.json").exists():
        _write(directory / "spec.json", json.dumps({
            "options": list(order.options), "program": list(order.program), "env": dict(order.env),
            "grace": order.grace, "backoff": order.backoff, "cgroup": order.cgroup,
            "network": order.network,
        }))  # fmt: skip
    keeper = _spawn(directory)
    life = observe(directory)
    if life is None or life.started is None:
        keeper.bury()
        said = _text(directory / "supervisor.log")[-1000:]
        raise Passing(f"the supervisor of {directory} did not start: {said or 'it said nothing'}")
    return keeper


def stop(directory: Path, grace: float) -> None:
    """Ask a life to end: SIGTERM, and SIGKILL for all of it after `grace` seconds. Gone already: nothing."""
    _write(directory / "grace", str(grace))
    with suppress(ProcessLookupError), opened(directory) as file:
        signal.pidfd_send_signal(file.number, signal.SIGTERM)


def own_grace(directory: Path) -> float:
    """Seconds between SIGTERM and SIGKILL, as the pod has it."""
    return float((_json(directory / "spec.json") or {}).get("grace", 0))


def repeat_stop(directory: Path) -> None:
    """Ask again where a yard died between writing the grace and sending the signal. Asked twice is asked once."""
    grace = _text(directory / "grace")
    if grace:
        stop(directory, float(grace))


def bury(directory: Path) -> None:
    """Kill what a supervisor that was killed has left behind. Raises Passing when that does not die.

    bubblewrap dies with its supervisor, but for the first milliseconds of its life (`--die-with-parent` is a
    prctl that its processes make when they are up). Its init holds the file `sandbox` locked: whoever it is.
    """
    if holder(directory):
        return
    try:
        file = os.open(directory / "sandbox", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        deadline = time.monotonic() + DEATH_LIMIT
        while not _lockable(file):
            for pid in _openers(file):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise Passing(f"a process of {directory} does not die; will look again")
            time.sleep(0.01)
    finally:
        os.close(file)


@dataclass(frozen=True)
class PidFile:
    """An open process: the number of a descriptor that becomes readable when it ends."""

    number: int

    def __enter__(self) -> "PidFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.bury()

    def bury(self, *, ending: bool = False) -> None:
        """Close it; take leave of the process, if it is a child of ours that has ended (or is just about to)."""
        with suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self.number, os.WEXITED | (0 if ending else os.WNOHANG))
        os.close(self.number)


def opened(directory: Path) -> PidFile:
    """The process that keeps this life. Raises ProcessLookupError where there is none."""
    keeper = holder(directory)
    if not keeper:
        raise ProcessLookupError
    file = PidFile(os.pidfd_open(keeper))
    if holder(directory) != keeper:
        file.bury()
        raise ProcessLookupError
    return file


def holder(directory: Path) -> int:
    """The process id of the supervisor, asked of the kernel by its lock; 0: there is none."""
    try:
        file = os.open(directory / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, question))
    finally:
        os.close(file)
    return 0 if kind == fcntl.F_UNLCK else int(pid)


def observe(directory: Path, from_logs: bool = False) -> Life | None:
    """What is known of a life; None: it was never ordered.

    `from_logs`: a failure that left no message is explained by the end of its log.
    """
    kept = holder(directory)  # first: a supervisor writes exit.json before it lets go
    spec = _json(directory / "spec.json")
    if spec is None:
        return None
    started = _json(directory / "started.json")
    ended = _json(directory / "exit.json")
    began = _moment(started["at"]) if started else None
    end: End | None = None
    if ended:
        end = _end(ended, directory, from_logs)
        began = began or end.at
    elif started and not kept:
        end = End(LOST, "Unknown", _last_sign(directory), "the container was lost: this machine, or its supervisor, "
                  "was stopped without notice")  # fmt: skip
    grace = _text(directory / "grace")
    return Life(int(directory.name), float(spec["backoff"]), began, end, float(grace) if grace else None)


def _end(said: Mapping[str, Any], directory: Path, from_logs: bool) -> End:
    code, message = int(said["code"]), str(said.get("error") or "")
    reason = "StartError" if message else "Completed" if code == 0 else "Error"
    if said.get("oom") and code == KILLED:
        reason = "OOMKilled"
    message = message or _text(directory / TERMINATION_LOG, MESSAGE_LIMIT)
    if not message and code != 0 and from_logs:
        message = log.tail(directory)
    return End(code, reason, _moment(said["at"]), message)


def _spawn(directory: Path) -> PidFile:
    """A supervisor that has come so far that its sandbox runs, or has ended."""
    ready, write_end = os.pipe2(os.O_CLOEXEC)
    try:
        keeper = _child(directory, write_end)
    finally:
        os.close(write_end)
    with os.fdopen(ready) as file:
        poll = select.poll()
        poll.register(file, select.POLLIN | select.POLLHUP)
        poll.poll(START_LIMIT * 1000)
    return keeper


def _child(directory: Path, ready: int) -> PidFile:
    log = str(directory / "supervisor.log")
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", supervisor.__file__, str(directory)],
        {"PATH": os.defpath},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, ready, 1),
            (os.POSIX_SPAWN_OPEN, 2, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        ],
        setsid=True,
        setsigmask=(),
    )
    return PidFile(os.pidfd_open(pid))


def _lockable(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _openers(file: int) -> Iterator[int]:
    """The other processes that have that file open."""
    wanted = os.fstat(file)
    for process in Path("/proc").glob("[0-9]*"):
        pid = int(process.name)
        with suppress(OSError):  # it may end while we look
            if pid != os.getpid() and any(_is(path, wanted) for path in (process / "fd").iterdir()):
                yield pid


def _is(path: Path, wanted: os.stat_result) -> bool:
    with suppress(OSError):
        return os.path.samestat(path.stat(), wanted)
    return False


def _last_sign(directory: Path) -> datetime:
    times = [path.stat().st_mtime for path in directory.iterdir() if path.name in ("started.json", "log")]
    return datetime.fromtimestamp(max(times), UTC)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _json(path: Path) -> dict[str, Any] | None:
    with suppress(FileNotFoundError):
        said: dict[str, Any] = json.loads(path.read_bytes())
        return said
    return None


def _text(path: Path, limit: int = 64 << 10) -> str:
    with suppress(FileNotFoundError), path.open("rb") as file:
        return file.read(limit).decode(errors="replace")
    return ""


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.touch(mode=0o600)
    part.write_text(text)
    part.rename(path)
