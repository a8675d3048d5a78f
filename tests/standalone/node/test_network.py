"""The pods' network as the kernel has it, in a namespace of the test's own."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from diskyard.errors import Refused
from standalone.node.network.network import Network, Wish, opened
from standalone.node.network.plan import parsed
from tests.builders import eventually
from tests.outer import PAGE, WORLD, guarded, inside, outer, run
from vm_runtime.agent import links


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Path]:
    """What is beyond the network of a machine, in which the test is."""
    with outer(tmp_path) as found:
        yield found


@pytest.fixture
def machine(world: Path, tmp_path: Path) -> Path:
    """A yard's directory on such a machine."""
    assert world.exists()
    directory = tmp_path / "yard"
    directory.mkdir()
    return directory


def opened_in(directory: Path, said: list[str] | None = None, subnet: str = "") -> Network:
    wish = Wish(directory / "network.json", parsed(subnet) if subnet else None)
    found = opened(directory, wish, (said if said is not None else []).append)
    assert isinstance(found, Network), found
    return found


def connected(network: Network, uid: str) -> tuple[Path, str]:
    """A pod's namespace, and its address."""
    address = network.plan.address(uid, ())
    return Path(network.connect(uid, address)), address


def echo(place: Path, port: int) -> threading.Thread:
    """Answer one connection in a namespace with what it says."""
    with inside(place):
        server = socket.create_server(("0.0.0.0", port))

    def serve() -> None:
        with server, closing(server.accept()[0]) as came:
            came.sendall(came.recv(64))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


def heard(address: str, port: int) -> bytes:
    with closing(socket.create_connection((address, port), 60)) as way:
        way.sendall(b"hello")
        return way.recv(64)


def fetched(address: str) -> str:
    """The page there; nothing, while nobody answers."""
    try:
        with closing(socket.create_connection((address, 80), 10)) as way:
            way.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with way.makefile("rb") as answer:
                return answer.read().decode()
    except OSError:
        return ""


def test_pods_meet_their_machine_each_other_and_the_world_whatever_docker_drops(machine: Path) -> None:
    guarded()
    with closing(opened_in(machine)) as network:
        first, address = connected(network, "first")
        second, _ = connected(network, "second")

        echo(first, 7)
        assert heard(address, 7) == b"hello"
        echo(first, 9)
        with inside(second):
            assert heard(address, 9) == b"hello"
            eventually(lambda: PAGE in fetched(WORLD), 60)
        for uid in ("first", "second"):
            network.disconnect(uid)


def test_nobody_in_the_world_reaches_in(machine: Path, world: Path) -> None:
    with closing(opened_in(machine)) as network:
        _, address = connected(network, "first")
        run("ip", "-n", world.name, "route", "add", str(network.plan.subnet), "via", "198.51.100.2")

        with inside(world), pytest.raises(TimeoutError):
            socket.create_connection((address, 7), 1)
        network.disconnect("first")


def test_a_pods_network_is_made_once_and_gone_with_it(machine: Path) -> None:
    with closing(opened_in(machine)) as network:
        place, address = connected(network, "first")
        before = place.stat().st_ino
        assert network.connect("first", address) == str(place)
        assert place.stat().st_ino == before

        network.disconnect("first")
        network.disconnect("first")

        assert not place.exists()
        assert not links.there(network.plan.cable("first"))


def test_what_was_half_made_when_it_died_is_made_anew(machine: Path) -> None:
    with closing(opened_in(machine)) as network:
        plan = network.plan
        run("ip", "netns", "add", plan.namespace("first"))
        run(
            "ip",
            *f"link add {plan.cable('first')} type veth peer name eth0 netns {plan.namespace('first')}".split(),
        )

        place, address = connected(network, "first")

        echo(place, 7)
        assert heard(address, 7) == b"hello"
        network.disconnect("first")


def test_after_a_crash_it_is_found_again_and_what_no_pod_has_is_swept_away(machine: Path) -> None:
    crashed = opened_in(machine)
    kept, address = connected(crashed, "kept")
    stray, _ = connected(crashed, "stray")

    with closing(opened_in(machine)) as network:
        assert network.plan == crashed.plan
        network.sweep(["kept"])

        assert not stray.exists()
        assert network.connect("kept", address) == str(kept)
        echo(kept, 7)
        assert heard(address, 7) == b"hello"
        network.disconnect("kept")
    crashed.close()


def test_the_last_to_leave_takes_bridge_and_rules_along_and_nothing_else(machine: Path) -> None:
    guarded()
    before = run("nft", "list", "ruleset")
    network = opened_in(machine)
    connected(network, "first")

    network.close()
    assert links.there(network.plan.bridge)
    with closing(opened_in(machine)) as last:
        last.disconnect("first")

    assert not links.there(network.plan.bridge)
    assert run("nft", "list", "ruleset") == before


def test_a_network_that_came_later_and_overlaps_is_named(machine: Path) -> None:
    network = opened_in(machine)
    network.close()
    inner = network.plan.subnet
    run("ip", "link", "add", "docker0", "type", "bridge")
    run("ip", "address", "add", f"{inner[3]}/24", "dev", "docker0")
    run("ip", "link", "set", "docker0", "up")
    said: list[str] = []

    with closing(opened_in(machine, said)) as again:
        assert again.plan == replace(network.plan)
    assert f"the guests' network {inner} overlaps" in said[0]
    assert "of docker0" in said[0]
    with pytest.raises(Refused, match="of docker0: choose another"):
        opened_in(machine, subnet=f"{inner}")


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has no rights anyway")
def test_without_rights_guests_do_without() -> None:
    script = (
        "import os\n"
        "from pathlib import Path\n"
        "from standalone.node.network.network import Wish, opened\n"
        "os.setuid(65534)\n"
        "print(opened(Path('/x'), Wish(Path('/x/network.json')), print).networking)"
    )

    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert said.stdout == "Networking(own=False, reason='only root can make networks for guests')\n", (
        said.stderr
    )
