"""What a probe asks, and its answer: over HTTP or TCP at the pod's address, or by a command inside the container."""

import http.client
import json
import os
import select
import signal
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from diskyard import VERSION
from diskyard.api.meta import Obj
from standalone.node import process, supervisor
from standalone.node.identity import WORKER, Identity
from standalone.node.sandbox import ENTER, Host, drop

KINDS: Final = ("startup", "readiness", "liveness")
_MOST: Final = 10 << 10
"""Bytes of an answer that are kept."""
_BUILT: Final = 60.0
"""Seconds in which a sandbox is built, on the slowest machine."""
_GLANCE: Final = 0.02
"""Seconds between two looks whether it is."""


@dataclass(frozen=True)
class Probe:
    """One question, and how often it is asked; seconds and counts as on the wire."""

    kind: str
    ask: Mapping[str, Any]
    delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    successes: int = 1
    failures: int = 3
    grace: float | None = None
    """Seconds that the container gets to end when this kills it; None: its pod's."""


@dataclass(frozen=True)
class Target:
    """The container that is asked."""

    life: Path
    address: str
    container: Obj
    host: Host
    who: Identity = WORKER


def probes(container: Obj) -> tuple[Probe, ...]:
    """The probes of a container."""
    return tuple(_probe(kind, said) for kind in KINDS if (said := container.get(f"{kind}Probe")))


def refusal(container: Obj) -> str:
    """Why a container's probes cannot be asked here; empty: they can."""
    for one in probes(container):
        if not any(way in one.ask for way in _WAYS):
            return (
                f"{one.kind}Probe: expected one of {', '.join(_WAYS)}, found {', '.join(one.ask) or 'none'}"
            )
        if "exec" in one.ask and not (one.ask["exec"] or {}).get("command"):
            return f"{one.kind}Probe.exec: expected a command"
        way = next(way for way in _WAYS if way in one.ask)
        if way != "exec" and port(one.ask[way], container) is None:
            return f"{one.kind}Probe.{way}.port: {one.ask[way].get('port')!r} is no port of the container"
    return ""


def answer(probe: Probe, target: Target) -> str:
    """What is wrong; empty: all is well. Takes the probe's time-out at most, and a little."""
    way = next(way for way in _WAYS if way in probe.ask)
    return _WAYS[way](probe.ask[way] or {}, target, probe.timeout)


def port(said: Mapping[str, Any], container: Obj) -> int | None:
    """The port that a probe means, by its number or its name."""
    wanted = said.get("port")
    if isinstance(wanted, int) or str(wanted).isdecimal():
        return int(str(wanted))
    named = {each.get("name"): each.get("containerPort") for each in container.get("ports") or ()}
    return named.get(wanted)


def _probe(kind: str, said: Obj) -> Probe:
    ask = {name: part for name, part in said.items() if isinstance(part, dict)}
    grace = said.get("terminationGracePeriodSeconds")
    return Probe(
        kind,
        ask,
        float(said.get("initialDelaySeconds") or 0),
        float(said.get("periodSeconds") or 10),
        float(said.get("timeoutSeconds") or 1),
        int(said.get("successThreshold") or 1),
        int(said.get("failureThreshold") or 3),
        None if grace is None else float(grace),
    )


def _http(said: Mapping[str, Any], target: Target, timeout: float) -> str:
    host, number = str(said.get("host") or target.address), port(said, target.container)
    scheme, path = str(said.get("scheme") or "HTTP").lower(), str(said.get("path") or "/")
    headers = {str(one["name"]): str(one.get("value") or "") for one in said.get("httpHeaders") or ()}
    headers = {"User-Agent": f"kube-probe/diskyard-{VERSION}", "Connection": "close", **headers}
    where = f'Get "{scheme}://{host}:{number}{path}"'
    connection = (
        http.client.HTTPSConnection(host, number, timeout=timeout, context=ssl._create_unverified_context())
        if scheme == "https"
        else http.client.HTTPConnection(host, number, timeout=timeout)
    )
    try:
        connection.request("GET", path, headers=headers)
        with connection.getresponse() as said_:  # one that ends the connection has taken the socket over
            said_.read(_MOST)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"{where}: {error or type(error).__name__}"
    finally:
        connection.close()
    return "" if 200 <= said_.status < 400 else f"HTTP probe failed with statuscode: {said_.status}"


def _tcp(said: Mapping[str, Any], target: Target, timeout: float) -> str:
    host, number = str(said.get("host") or target.address), port(said, target.container)
    try:
        socket.create_connection((host, number or 0), timeout).close()
    except OSError as error:
        return f"dial tcp {host}:{number}: {error}"
    return ""


def _exec(said: Mapping[str, Any], target: Target, timeout: float) -> str:
    """Run a command beside the main process: in its namespaces and control group, as whom it runs."""
    try:
        spec = json.loads((target.life / "spec.json").read_bytes())
        inside = _inside(target.life)
    except (OSError, ValueError) as error:
        return f"the container is not to be found: {error}"
    passed = supervisor.passed("env", json.dumps(spec["env"]).encode())
    command = [*_entering(inside, spec, target), *map(str, said.get("command") or ())]
    try:
        code, text = _run(command, passed, time.monotonic() + timeout)
    finally:
        os.close(passed)
    if code is None:
        return f"command timed out: {text}" if text else f"command timed out after {timeout:g}s"
    return "" if code == 0 else text or f"command ended with {code}"


def _entering(inside: int, spec: Mapping[str, Any], target: Target) -> Iterator[str]:
    if spec.get("cgroup"):
        yield from ("sh", "-c", supervisor.ENTER_GROUP, f"{spec['cgroup']}/cgroup.procs")
    yield from ("nsenter", "--target", str(inside), "--mount", "--pid", "--ipc", "--uts")
    yield from ("--net",) if spec.get("network") else ()
    yield from () if target.host.root else ("--user", "--preserve-credentials")
    yield "--"
    yield from drop(target.who) if target.host.root else ()
    yield from (target.host.installation.python, "-I", "-S", "-c", ENTER)


def _inside(life: Path) -> int:
    """The process id of the first process of the sandbox: the supervisor's bubblewrap's child.

    It has one of its own, the container's, as soon as the sandbox is built; this returns then.
    """
    deadline = time.monotonic() + _BUILT
    while (keeper := process.holder(life)) and time.monotonic() < deadline:
        first = _child(_child(keeper))
        if _child(first):
            return first
        time.sleep(_GLANCE)
    raise FileNotFoundError("it has not begun" if keeper else "it has ended")


def _child(parent: int) -> int:
    """The first process that this one has begun; 0: none."""
    if not parent:
        return 0
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return int(children[0]) if children else 0


def _run(command: list[str], env: int, deadline: float) -> tuple[int | None, str]:
    """Exit code and output; no code: it took too long, and was killed."""
    out, write_end = os.pipe2(os.O_CLOEXEC)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, write_end, 1),
        (os.POSIX_SPAWN_DUP2, write_end, 2),
        (os.POSIX_SPAWN_DUP2, env, supervisor.ENV_FILE),
    ]
    path = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    try:
        pid = os.posix_spawnp(command[0], command, path, file_actions=actions, setsid=True, setsigmask=())
    except OSError as error:
        os.close(out)
        return 1, f"{command[0]} cannot be run: {error}"
    finally:
        os.close(write_end)
    over = os.pidfd_open(pid)
    try:
        text, ended = _read(out, deadline)
        ended = ended and bool(select.select([over], [], [], max(0.0, deadline - time.monotonic()) + 0.1)[0])
    finally:
        os.close(out)
        os.close(over)
    if not ended:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return (code if ended else None), text.decode(errors="replace").strip()


def _read(file: int, deadline: float) -> tuple[bytes, bool]:
    """What is said until the end or the deadline; and whether it was the end."""
    kept = b""
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([file], [], [], left)[0]:
            break
        chunk = os.read(file, 64 << 10)
        if not chunk:
            return kept, True
        kept = (kept + chunk)[:_MOST]
    return kept, False


_WAYS: Final = {"httpGet": _http, "tcpSocket": _tcp, "exec": _exec}
