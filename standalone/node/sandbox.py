"""The sandbox of a container, as options of bubblewrap: what it sees of this machine, and as whom it runs.

The root is an empty tmpfs. In it: /usr, a few files of /etc, this Python installation, a read-only /sys and what the
pod mounts; namespaces of its own for mounts, processes, IPC and host name; the network is the host's.

As root, bubblewrap keeps nearly every capability, and CAP_DAC_READ_SEARCH opens any file of a bound file
system by its handle (`open_by_handle_at`). So only the three capabilities that dropping the others takes are kept, and
the first program inside is `setpriv`, which becomes uid 107 with an empty bounding set. As an
ordinary user the sandbox is a user namespace, in which that user is called 107.
"""

import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from diskyard.errors import Refused
from standalone.node.identity import WORKER, Identity
from standalone.node.supervisor import ENV_FILE

WORKER_PACKAGES: Final = ("diskyard", "importer", "uploadproxy", "cloner", "vm_runtime")
"""What workers import. A wheel has them in its environment; an editable installation, where the sources are."""

SYSTEM_FILES: Final = (
    "/etc/ld.so.cache", "/etc/alternatives", "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/tls",
    "/etc/pki/ca-trust", "/etc/crypto-policies", "/etc/resolv.conf", "/etc/services", "/etc/protocols",
)  # fmt: skip
"""Of the host's /etc, where they exist: the loader, certificates, names of hosts and services."""

ENTER: Final = f"""
import json, os, signal, sys
for name in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(name, signal.SIG_DFL)
with open({ENV_FILE}) as said:
    env = json.load(said)
try:
    os.execvpe(sys.argv[1], sys.argv[1:], env)
except OSError as error:
    print(f"cannot run {{sys.argv[1]!r}}: {{error.strerror}}", file=sys.stderr)
    sys.exit(127)
"""
"""The first program inside without rights: takes the container's environment and becomes its command."""


@dataclass(frozen=True)
class Bind:
    """A file or directory of the host, and where the container finds it."""

    source: Path
    target: str
    read_only: bool = True
    device: bool = False
    """Whether device nodes work there."""
    volume: bool = False
    """Whether it holds what some container wrote, links included."""


@dataclass(frozen=True)
class Sandbox:
    """One container: what runs, where, and what it sees beside the system."""

    command: tuple[str, ...]
    hostname: str
    binds: tuple[Bind, ...] = ()
    working_dir: str = "/"
    identity: Identity = WORKER
    memory: int | None = None
    """Bytes that each process may have; None: no limit, or one that a control group keeps."""


@dataclass(frozen=True)
class Installation:
    """This Python installation: the directories that its programs need, at their own paths."""

    binds: tuple[Bind, ...]
    path: str
    """PATH inside."""
    python: str


@dataclass(frozen=True)
class Host:
    """What of the machine every sandbox shares."""

    installation: Installation
    root: bool = field(default_factory=lambda: os.geteuid() == 0)


def host() -> Host:
    """This machine, run by this user, with this Python."""
    return Host(_installation())


def options(sandbox: Sandbox, machine: Host) -> list[str]:
    """bubblewrap's options for a container. Raises Refused."""
    binds = sorted(
        (*machine.installation.binds, *_system(), *sandbox.binds),
        key=lambda bind: PurePosixPath(bind.target).parts,
    )
    _check(binds, machine.installation)
    return [
        *_namespaces(sandbox, machine),
        *("--perms", "0755", "--tmpfs", "/", "--proc", "/proc", "--dev", "/dev"),
        *("--perms", "01777", "--tmpfs", "/tmp", "--perms", "01777", "--tmpfs", "/var/tmp"),
        *("--perms", "01777", "--tmpfs", "/dev/shm", "--perms", "0755", "--dir", "/run"),
        *("--symlink", "../run", "/var/run"),
        *_usr(),
        *_mounts(binds),
        *(_frozen(binds) if sandbox.identity.read_only_root else ()),
        *("--chdir", sandbox.working_dir),
    ]


def program(sandbox: Sandbox, machine: Host) -> list[str]:
    """What bubblewrap runs: what drops every right, what takes the environment, the container's command."""
    enter = (machine.installation.python, "-I", "-S", "-c", ENTER)
    limit = () if sandbox.memory is None else ("prlimit", f"--data={sandbox.memory}")
    return [*(drop(sandbox.identity) if machine.root else ()), *limit, *enter, *sandbox.command]


def environment(machine: Host) -> dict[str, str]:
    """What the image sets, as a container file's ENV lines would."""
    return {
        "PATH": machine.installation.path,
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _check(binds: Iterable[Bind], ours: Installation) -> None:
    """Nothing of ours comes to lie inside a volume: bubblewrap would follow links there, as root, out of it."""
    volumes = [bind for bind in binds if bind.volume]
    for bind in binds:
        for volume in volumes:
            if not bind.volume and PurePosixPath(bind.target).is_relative_to(volume.target):
                elsewhere = f": install Diskyard outside of {volume.target}" if bind in ours.binds else ""
                raise Refused(
                    f"a volume cannot be mounted at {volume.target}: the container needs {bind.target}{elsewhere}"
                )


def _namespaces(sandbox: Sandbox, machine: Host) -> Iterator[str]:
    yield from ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
    yield from ("--hostname", sandbox.hostname, "--new-session", "--die-with-parent")
    if machine.root:
        yield from ("--cap-drop", "ALL")
        for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
            yield from ("--cap-add", capability)
    else:
        who = sandbox.identity
        yield from ("--unshare-user", "--uid", str(who.user), "--gid", str(who.group))


def _frozen(binds: Iterable[Bind]) -> Iterator[str]:
    """A read-only root: nothing can be written but what is mounted."""
    mounted = {bind.target for bind in binds}
    for path in ("/tmp", "/var/tmp", "/"):
        if path not in mounted:
            yield from ("--remount-ro", path)


def drop(who: Identity) -> Iterator[str]:
    """What turns root into that identity, for good."""
    groups = ("--groups", ",".join(map(str, who.groups))) if who.groups else ("--clear-groups",)
    yield from ("setpriv", "--reuid", str(who.user), "--regid", str(who.group), *groups)
    yield from ("--inh-caps=-all", "--bounding-set=-all", "--no-new-privs")


def _usr() -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        path = Path(name)
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), name)
        elif path.is_dir():
            yield from ("--ro-bind", name, name)


def _system() -> Iterator[Bind]:
    yield Bind(Path("/sys"), "/sys")
    for name in SYSTEM_FILES:
        path = Path(name)
        if path.exists():
            yield Bind(path.resolve(), name)


def _mounts(binds: Iterable[Bind]) -> Iterator[str]:
    """Each bind after its parents: what bubblewrap makes itself, as root, nobody else could enter."""
    made = {PurePosixPath(path) for path in ("/", "/dev", "/proc", "/tmp", "/run", "/usr")}
    for bind in binds:
        for parent in reversed(PurePosixPath(bind.target).parents):
            if parent not in made:
                made.add(parent)
                yield from ("--perms", "0755", "--dir", str(parent))
        made.add(PurePosixPath(bind.target))
        kind = "--dev-bind" if bind.device else "--ro-bind" if bind.read_only else "--bind"
        yield from (kind, str(bind.source), bind.target)


def _installation() -> Installation:
    prefixes = [Path(sys.prefix), Path(sys.base_prefix), *_package_directories()]
    found: dict[str, Bind] = {}
    for prefix in prefixes:
        for name in (prefix, prefix.resolve()):
            inside = any(name.is_relative_to(known) for known in ("/usr", *found))
            if not inside and name.is_dir():
                found[str(name)] = Bind(prefix.resolve(), str(name))
    path = dict.fromkeys((f"{sys.prefix}/bin", "/usr/local/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin"))
    return Installation(tuple(found.values()), ":".join(path), sys.executable)


def _package_directories() -> Iterator[Path]:
    for package in WORKER_PACKAGES:
        spec = importlib.util.find_spec(package)
        yield from (Path(place) for place in (spec.submodule_search_locations if spec else None) or ())
