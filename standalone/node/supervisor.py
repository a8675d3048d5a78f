"""Keeps one container: a small process that outlives the yard and owns the container's sandbox.

Run as `python -I -S supervisor.py RUN`, by file path, with nothing but the standard library: it starts in
20 milliseconds and stays small. RUN is a directory; in it:

    spec.json         what to run: options (of bubblewrap), program, env, grace (seconds), cgroup (a folder, or none),
                      network (a namespace's file, or none)
    lock              held (POSIX lock) for as long as this process lives: who asks learns its process id,
                      and no reused id is ever mistaken for it
    sandbox           held (flock) by this process and by the sandbox's init: free only when both are gone
    started.json      when the sandbox began
    log, log.1        what the container said: `<RFC 3339> stdout F <line>`, as container runtimes write it
    grace             seconds between SIGTERM and SIGKILL, where they differ from the spec's
    exit.json         how and when it ended; written before the lock is let go

bubblewrap itself gets none of the container's environment (an LD_PRELOAD would run as root, out here): that goes
through an open file to the first program inside that has no more rights. Its options go through another: they would
fill the host's list of processes, and name every claim in it.

SIGTERM: pass it to the main process, and kill everything when the grace is over. When the main process ends,
however it ends, the whole process tree ends with it.
"""

import fcntl
import json
import os
import select
import signal
import sys
import time

ROTATE_AT = 10 << 20
"""Bytes of a log, after which it becomes log.1."""
LONGEST_LINE = 16 << 10
"""Bytes after which a line is written in parts."""
ROOM = 2048
"""Bytes that the end of a container takes at most."""
EMPTYING = 1.0
"""Seconds that a control group gets to be empty; the node removes what is left with the pod."""
DRAIN = 5.0
"""Seconds for what is left in the pipes after the end."""
START_ERROR = 128
"""Exit code of a sandbox that never ran, as containerd has it."""
OPTIONS_FILE = 19
"""The descriptor by which bubblewrap gets its options."""
HELD_FILE = 22
"""The descriptor of `sandbox`, which only bubblewrap's own processes keep open."""
ENV_FILE = 20
"""The descriptor by which the environment goes in, as JSON."""
ENTER_GROUP = 'echo $$ > "$0" && exec "$@"'
"""Runs what follows in a control group: from its first moment, and without this process."""
STATUS_FILE = 21
"""The descriptor on which bubblewrap says how it goes."""


def stamp() -> str:
    """Now, in UTC, with nanoseconds."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z"


def publish(name: str, said: dict[str, object]) -> None:
    """Write a JSON file so that who reads it sees all or nothing, also after a power cut."""
    part = name + ".part"
    text = json.dumps(said).encode()
    file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, text)
        os.ftruncate(file, len(text))
        os.fsync(file)
    finally:
        os.close(file)
    os.rename(part, name)


def reserve(name: str) -> None:
    """Take the room for what `publish` will write: an end can be told on a full disk."""
    file = os.open(name + ".part", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, b" " * ROOM)
    finally:
        os.close(file)


def passed(name: str, content: bytes) -> int:
    """An open file that holds this, to be read from its start."""
    file = os.memfd_create(name)
    while content:
        content = content[os.write(file, content) :]
    os.lseek(file, 0, os.SEEK_SET)
    return file


class Log:
    """The container's words, with the time at which they came; bounded by rotation."""

    def __init__(self) -> None:
        self._file = -1
        self._size = 0
        self._rest = {"stdout": b"", "stderr": b""}
        self.last = ""
        """The last line on stderr."""
        self._open()

    def take(self, stream: str, chunk: bytes) -> None:
        """Write the lines that `chunk` completes."""
        *lines, rest = (self._rest[stream] + chunk).split(b"\n")
        entries = [part for line in lines for part in self._parts(line)]
        while len(rest) >= LONGEST_LINE:
            entries.append((b"P", rest[:LONGEST_LINE]))
            rest = rest[LONGEST_LINE:]
        self._rest[stream] = rest
        if lines and stream == "stderr":
            self.last = lines[-1].decode(errors="replace")
        self._write(stream, entries)

    def finish(self) -> None:
        """Write what never got its newline."""
        for stream, rest in self._rest.items():
            self._write(stream, [(b"P", rest)] if rest else [])
        os.close(self._file)

    def _parts(self, line: bytes) -> list[tuple[bytes, bytes]]:
        parts = []
        while len(line) > LONGEST_LINE:
            parts.append((b"P", line[:LONGEST_LINE]))
            line = line[LONGEST_LINE:]
        return [*parts, (b"F", line)]

    def _write(self, stream: str, entries: list[tuple[bytes, bytes]]) -> None:
        head = f"{stamp()} {stream} ".encode()
        text = memoryview(b"".join(head + tag + b" " + line + b"\n" for tag, line in entries))
        try:
            if self._size and self._size + len(text) > ROTATE_AT:
                os.close(self._file)
                os.rename("log", "log.1")
                self._open()
            while text:
                written = os.write(self._file, text)
                self._size += written
                text = text[written:]
        except OSError:
            # A full disk costs log lines, never the container: what blocks here would block it.
            return

    def _open(self) -> None:
        self._file = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._file).st_size


class Spec:
    """What to run."""

    def __init__(self, text: str) -> None:
        said = json.loads(text)
        self.options: list[str] = said["options"]
        self.program: list[str] = said["program"]
        self.env: dict[str, str] = said["env"]
        self.grace = float(said["grace"])
        self.cgroup: str = said.get("cgroup") or ""
        self.network: str = said.get("network") or ""


class Keeper:
    """One sandbox, from its start to the end of its last process."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._log = Log()
        self._poll = select.poll()
        self._streams: dict[int, str] = {}
        self._status = b""
        self._bwrap = 0
        self._init_pid = 0
        self._init = -1
        self._kill_at: float | None = None
        self._killed = False

    def start(self) -> None:
        """Start bubblewrap. Raises OSError where there is none."""
        self._listen_to_signals()
        ends = {name: self._pipe(name) for name in ("stdout", "stderr", "status")}
        env = passed("env", json.dumps(self._spec.env).encode())
        options = passed("options", b"\0".join(option.encode() for option in self._spec.options))
        held = os.open("sandbox", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(held, fcntl.LOCK_EX)
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, ends["stdout"], 1),
            (os.POSIX_SPAWN_DUP2, ends["stderr"], 2),
            (os.POSIX_SPAWN_DUP2, options, OPTIONS_FILE),
            (os.POSIX_SPAWN_DUP2, env, ENV_FILE),
            (os.POSIX_SPAWN_DUP2, ends["status"], STATUS_FILE),
            (os.POSIX_SPAWN_DUP2, held, HELD_FILE),
        ]
        files = ("--json-status-fd", STATUS_FILE, "--sync-fd", HELD_FILE, "--args", OPTIONS_FILE)
        argv = ["bwrap", *map(str, files), "--", *self._spec.program]
        if self._spec.network:
            argv = ["nsenter", f"--net={self._spec.network}", "--", *argv]
        if self._spec.cgroup:
            argv = ["sh", "-c", ENTER_GROUP, self._spec.cgroup + "/cgroup.procs", *argv]
        environ = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        usual = (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ)
        self._bwrap = os.posix_spawnp(
            argv[0], argv, environ, file_actions=actions, setsigmask=(), setsigdef=usual
        )
        for file in (env, options, *ends.values()):
            os.close(file)

    def keep(self) -> dict[str, object]:
        """Serve the sandbox until it has ended: how it did."""
        while (code := self._ended()) is None:
            for file, _ in self._poll.poll(self._patience()):
                self._serve(file)
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._kill()
        self._signal_init(signal.SIGKILL)
        self._drain()
        self._log.finish()
        ran = b'"exit-code"' in self._status or self._killed
        end: dict[str, object] = {"code": code if ran else START_ERROR, "at": stamp()}
        if self._spec.cgroup and leave(self._spec.cgroup):
            end["oom"] = True
        return end if ran else end | {"error": self._log.last[:512] or f"bwrap ended with {code}"}

    def _listen_to_signals(self) -> None:
        wake, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._register(wake, "signal")

    def _pipe(self, name: str) -> int:
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        self._register(read_end, name)
        return write_end

    def _register(self, file: int, name: str) -> None:
        self._poll.register(file, select.POLLIN)
        self._streams[file] = name

    def _serve(self, file: int) -> None:
        name = self._streams[file]
        chunk = os.read(file, 64 << 10)
        if not chunk:
            self._poll.unregister(file)
            del self._streams[file]
            os.close(file)
        elif name == "signal":
            if signal.SIGTERM in chunk:
                self._stop()
        elif name == "status":
            self._status += chunk
            self._meet_init()
        else:
            self._log.take(name, chunk)

    def _meet_init(self) -> None:
        first, newline, _ = self._status.partition(b"\n")
        if self._init_pid or not newline:
            return
        self._init_pid = int(json.loads(first)["child-pid"])
        try:
            self._init = os.pidfd_open(self._init_pid)
        except ProcessLookupError:
            return
        announce()

    def _stop(self) -> None:
        grace = self._spec.grace
        try:
            with open("grace") as said:
                grace = float(said.read())
        except (OSError, ValueError):
            pass
        at = time.monotonic() + grace
        first = self._kill_at is None
        self._kill_at = at if self._kill_at is None else min(at, self._kill_at)
        main = self._main()
        if not main:
            self._kill_at = 0.0
        elif first and grace > 0:
            os.kill(main, signal.SIGTERM)

    def _main(self) -> int:
        """The first child of the sandbox's init; 0 while there is none."""
        try:
            with open(f"/proc/{self._init_pid}/task/{self._init_pid}/children") as said:
                children = said.read().split()
        except OSError:
            return 0
        return int(children[0]) if children else 0

    def _kill(self) -> None:
        self._killed = True
        self._kill_at = None
        if self._init >= 0:
            self._signal_init(signal.SIGKILL)
        else:
            os.kill(self._bwrap, signal.SIGKILL)

    def _signal_init(self, number: int) -> None:
        if self._init < 0:
            return
        try:
            signal.pidfd_send_signal(self._init, number)
        except ProcessLookupError:
            return

    def _ended(self) -> int | None:
        pid, status = os.waitpid(self._bwrap, os.WNOHANG)
        if not pid:
            return None
        code = os.waitstatus_to_exitcode(status)
        return 128 - code if code < 0 else code

    def _patience(self) -> int | None:
        """Milliseconds until someone has to be killed; None: nobody."""
        if self._kill_at is None:
            return None
        return max(0, int((self._kill_at - time.monotonic()) * 1000) + 1)

    def _drain(self) -> None:
        deadline = time.monotonic() + DRAIN
        while len(self._streams) > 1 and time.monotonic() < deadline:
            for file, _ in self._poll.poll(100):
                self._serve(file)


def leave(cgroup: str) -> bool:
    """Take a control group away; whether a process of it was killed for the memory it took."""
    killed = False
    for name in ("memory.events", "memory.oom_control"):
        try:
            with open(f"{cgroup}/{name}") as file:
                killed |= any(line.split()[1] != "0" for line in file if line.startswith("oom_kill "))
        except OSError:
            continue
    deadline = time.monotonic() + EMPTYING
    while time.monotonic() < deadline:
        try:
            os.rmdir(cgroup)
        except FileNotFoundError:
            break
        except OSError:  # a process that has just ended is still counted for a moment
            time.sleep(0.01)
        else:
            break
    return killed


def announce() -> None:
    """Say that the container runs: to the file that stays, and to the yard that waits for our stdout to close."""
    publish("started.json", {"at": stamp()})
    release()


def release() -> None:
    """Let go of the stdout by which the yard waits."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def main(run: str) -> None:
    """Keep the container of that directory, unless someone does, or it has ended already."""
    os.chdir(run)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # what our parents left open is not for containers
    lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    if os.path.exists("exit.json"):
        return
    reserve("exit.json")
    with open("spec.json") as file:
        keeper = Keeper(Spec(file.read()))
    try:
        keeper.start()
    except OSError as error:
        publish(
            "exit.json", {"code": START_ERROR, "at": stamp(), "error": f"bubblewrap does not start: {error}"}
        )
        return
    publish("exit.json", keeper.keep())


if __name__ == "__main__":
    main(sys.argv[1])
