"""The yard's API server beside a real one in the same run: what each does in a second, and what it holds in memory.

python benchmarks/api.py [ROUNDS]            (needs what `python -m tests.cluster.programs` builds)
python benchmarks/api.py start [PAIRS]       the starts alone, in turns
"""

import json
import select
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import apiserver
import startup
from apiclient import Connection
from apiserver import Server

from tests.cluster.programs import folder

ROUNDS: Final = 2
PAIRS: Final = 5
ONE, MANY, LISTED, HELD, WATCHES, CHANGES = 1000, 16, 4800, 10_000, 1000, 15
MIB: Final = 1 << 20
VOLUMES: Final = "/apis/cdi.kubevirt.io/v1beta1/namespaces/default/datavolumes"
MAPS: Final = "/api/v1/namespaces/kube-system/configmaps"


@dataclass(frozen=True)
class Figure:
    """A measure: more is better, or less is; `goal` is for the ratio to the real server."""

    name: str
    unit: str
    more: bool
    goal: float


FIGURES: Final = {
    "one": Figure("creates, 1 client", "/s", True, 1.0),
    "many": Figure(f"creates, {MANY} clients", "/s", True, 0.7),
    "list": Figure(f"list of {LISTED:,} objects", "ms", False, 1.0),
    "held": Figure(f"resident, {HELD:,} DataVolumes", "MiB", False, 0.5),
    "start": Figure("start to ready", "s", False, 0.5),
    "fan": Figure(f"a change to {WATCHES:,} watches", "ms", False, 3.0),
    "cpu one": Figure("  processor for a create, 1 client", "ms", False, 0),
    "cpu many": Figure(f"  the same, {MANY} clients", "ms", False, 0),
    "cpu list": Figure("  the same, a list", "ms", False, 0),
    "cpu fan": Figure("  the same, a change", "ms", False, 0),
}


def main(words: list[str]) -> None:
    if not Path(folder(), "kube-apiserver").exists():
        print("skipped: `python -m tests.cluster.programs` builds the real server to measure against")
    elif words[:1] == ["start"]:
        _starts(int(words[1]) if len(words) > 1 else PAIRS)
    else:
        _all(int(words[0]) if words else ROUNDS)


def _starts(pairs: int) -> None:
    """Each beside the other one's next: a machine is not as quick in every minute."""
    startup.start()
    ratios = []
    for _ in range(pairs):
        own = startup.start().seconds
        with apiserver.real(folder()) as server:
            ratios.append(own / server.seconds)
            print(f"{own:.2f} s against {server.seconds:.2f} s: {ratios[-1]:.2f}x")
    goal = FIGURES["start"].goal
    print(f"median {median(ratios):.2f}x  <= {goal:g}x: {'met' if median(ratios) <= goal else 'MISSED'}")


def _all(rounds: int) -> None:
    found: dict[str, list[dict[str, float]]] = {apiserver.OURS: [], apiserver.REAL: []}
    startup.start()  # reads the programs into memory, as the real ones are there since they were built
    for _ in range(rounds):
        found[apiserver.OURS].append(_ours())
        with apiserver.real(folder()) as server:
            found[apiserver.REAL].append({"start": server.seconds, **_measured(server)})
    _show(found)


def _ours() -> dict[str, float]:
    """The whole yard starts, with its controllers and node; the rest is measured on the server alone."""
    start = startup.start().seconds
    with apiserver.ours() as server:
        return {"start": start, **_measured(server)}


def _measured(server: Server) -> dict[str, float]:
    """All figures of one server; the order matters, what was made before stays."""
    name, number = iter(range(1 << 30)), len(_volume(0))
    one = _creates(server, ONE, 1, lambda: _volume(next(name)))
    many = _creates(server, LISTED - ONE, MANY, lambda: _volume(next(name)))
    listed = _lists(server)
    _creates(server, HELD - LISTED, MANY, lambda: _volume(next(name)))
    time.sleep(5)
    held = server.resident() / MIB
    fan = _fan(server)
    assert 300 < number < 2000
    return {
        "one": one[0], "cpu one": one[1], "many": many[0], "cpu many": many[1], "list": listed[0],
        "cpu list": listed[1], "held": held, "fan": fan[0], "cpu fan": fan[1],
    }  # fmt: skip


def _volume(number: int) -> bytes:
    """A DataVolume, 1.3 KiB as it is kept."""
    metadata = {
        "name": f"volume-{number:06}",
        "labels": {"app": "benchmark"},
        "annotations": {"note": "x" * 400},
    }
    spec = {
        "source": {"http": {"url": "http://images.example/disk.qcow2"}},
        "storage": {"resources": {"requests": {"storage": "1Gi"}}},
    }
    said = {"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "metadata": metadata, "spec": spec}
    return json.dumps(said).encode()


def _creates(server: Server, count: int, clients: int, body: Callable[[], bytes]) -> tuple[float, float]:
    """Creates in a second, and milliseconds of processor for each."""
    bodies = iter([body() for _ in range(count)])
    lock = threading.Lock()

    def client(connection: Connection) -> None:
        while True:
            with lock:
                mine = next(bodies, None)
            if mine is None:
                return
            connection.ask("POST", VOLUMES, mine)

    connections = [Connection(server.door) for _ in range(clients)]
    threads = [threading.Thread(target=client, args=(each,)) for each in connections]
    used, begun = server.cpu(), time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - begun
    for connection in connections:
        connection.close()
    return count / seconds, (server.cpu() - used) * 1000 / count


def _lists(server: Server, times: int = 15) -> tuple[float, float]:
    """Milliseconds for a list, and of processor."""
    connection, walls = Connection(server.door), []
    used = server.cpu()
    for _ in range(times):
        begun = time.monotonic()
        size = len(connection.ask("GET", VOLUMES))
        walls.append((time.monotonic() - begun) * 1000)
    connection.close()
    assert size > LISTED * 1000, f"expected objects of more than 1 KB, found {size / LISTED:.0f} bytes each"
    return median(walls), (server.cpu() - used) * 1000 / times


def _fan(server: Server) -> tuple[float, float]:
    """Milliseconds until the last of many watches has been told of a change, and of processor."""
    writer = Connection(server.door)
    made = json.loads(writer.ask("POST", MAPS, json.dumps({"metadata": {"name": "told"}}).encode()))
    since = made["metadata"]["resourceVersion"]
    watches = [Connection(server.door) for _ in range(WATCHES)]
    for each in watches:
        each.send("GET", f"{MAPS}?watch=1&resourceVersion={since}")
        assert each.head().startswith(b"HTTP/1.1 200")
    poll = select.epoll()
    for each in watches:
        poll.register(each.socket, select.EPOLLIN)
    known = {each.socket.fileno(): each for each in watches}
    time.sleep(1)
    walls, used = [], server.cpu()
    for number in range(CHANGES):
        begun = time.monotonic()
        writer.ask("PATCH", f"{MAPS}/told", b'{"data":{"n":"%d"}}' % number, "application/merge-patch+json")
        waiting = set(known)
        while waiting:
            for descriptor, _ in poll.poll():
                if b'"n":"%d"' % number in known[descriptor].socket.recv(1 << 16):
                    waiting.discard(descriptor)
        walls.append((time.monotonic() - begun) * 1000)
    cost = (server.cpu() - used) * 1000 / CHANGES
    for each in (writer, *watches):
        each.close()
    return median(walls), cost


def _show(found: dict[str, list[dict[str, float]]]) -> None:
    print(f"{'medians':<36}{apiserver.OURS:>14}{apiserver.REAL:>24}{'ratio':>8}  goal")
    for name, figure in FIGURES.items():
        ours, real = (median(run[name] for run in runs) for runs in found.values())
        ratio = ours / real
        met = ratio >= figure.goal if figure.more else ratio <= figure.goal
        sign = ">=" if figure.more else "<="
        goal = f"  {sign} {figure.goal:g}x: {'met' if met else 'MISSED'}" if figure.goal else ""
        shown = [f"{value:,.2f} {figure.unit}" for value in (ours, real)]
        print(f"{figure.name:<36}{shown[0]:>14}{shown[1]:>24}{ratio:>7.2f}x{goal}")


if __name__ == "__main__":
    main(sys.argv[1:])
