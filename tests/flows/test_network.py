"""Guests on a network: found at their pods' addresses, with the network of the machine left alone."""

import http.client
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from diskyard.kube.http import connect
from tests.builders import eventually
from tests.flows.yard import Yard, data_volume, disconnect, machine, running
from tests.imageserver import image_server
from tests.outer import PAGE, WORLD, guarded, outer, run

pytestmark = pytest.mark.xdist_group("networks")

CONSOLE = "/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachineinstances/{}/console"


@pytest.fixture(scope="module")
def networked(tmp_path_factory: pytest.TempPathFactory, networked_image: Path) -> Iterator[Yard]:
    """A yard on a machine on which docker and libvirt have been, with the guests `one` and `two`."""
    folder = tmp_path_factory.mktemp("networked")
    folder.chmod(0o755)
    with ExitStack() as stack:
        stack.enter_context(outer(folder))
        guarded()
        root = folder / "images"
        root.mkdir(mode=0o755)
        shutil.copy(networked_image, root / "guest.qcow2")
        images = stack.enter_context(image_server(root, folder / "nginx"))
        directory = folder / "yard"
        stack.callback(disconnect, directory)
        yard = stack.enter_context(running(directory))
        for name, binding in (("one", {"masquerade": {}, "ports": [{"port": 80}]}), ("two", {"bridge": {}})):
            yard.create(data_volume(name, {"http": {"url": images.url("guest.qcow2")}}, "1Gi"))
            yard.create(with_card(machine(name, name), binding))
        yield yard


def with_card(vm: dict[str, Any], binding: dict[str, Any]) -> dict[str, Any]:
    spec = vm["spec"]["template"]["spec"]
    spec["domain"]["devices"]["interfaces"] = [{"name": "default", **binding}]
    spec["networks"] = [{"name": "default", "pod": {}}]
    return vm


def address(yard: Yard, name: str) -> str:
    """Where the guest is, by its status."""
    found = yard.wait("virtualmachineinstances", name, "Running", 180)
    return str(found["status"]["interfaces"][0]["ipAddress"])


def page(place: str, port: int = 80) -> str:
    """What the guest says there, as soon as it does."""

    def said() -> str:
        connection = http.client.HTTPConnection(place, port, timeout=10)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise AssertionError(f"{place}:{port}: {error}") from error
        finally:
            connection.close()

    return eventually(said, 180)


def typed(yard: Yard, name: str, keys: str, until: str) -> None:
    """Type into a guest's console until it has said something."""
    client = connect(yard.kubeconfig)
    stream = client.stream(CONSOLE.format(name), "plain.kubevirt.io")
    try:
        stream.settimeout(90)
        stream.send_binary(f"{keys}\n".encode())
        shown = b""
        while until.encode() not in shown:
            shown += stream.recv()
    finally:
        stream.close()
        client.close()


def test_a_guest_gets_its_address_its_name_and_its_mtu_and_answers(networked: Yard) -> None:
    place = address(networked, "one")

    assert page(place) == "one 10.0.2.2/24 1500\n"
    status = networked.get("virtualmachineinstances", "one")["status"]
    assert {
        "podInterfaceName": "eth0",
        "infoSource": "domain",
        "linkState": "up",
        "name": "default",
    }.items() <= (status["interfaces"][0].items())
    assert not [each for each in status["conditions"] if each["type"] == "UserModeNetworking"]


def test_only_its_ports_lead_to_a_guest_that_names_some(networked: Yard) -> None:
    place = address(networked, "one")
    page(place)

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((place, 8080), 10)


def test_a_bridged_guest_is_at_its_pods_address_with_every_port(networked: Yard) -> None:
    place = address(networked, "two")

    assert page(place).startswith(f"two {place}/22 ")
    assert page(place, 8080).startswith("two ")


def test_guests_reach_each_other_and_the_world_though_docker_drops_what_is_forwarded(networked: Yard) -> None:
    other = address(networked, "two")
    page(other)
    page(address(networked, "one"))
    networked.console_says("one", "This is a shell")

    typed(networked, "one", rf"printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 30 {other} 80", f"two {other}/22")
    typed(networked, "one", rf"printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 30 {WORLD} 80", PAGE.strip())


def test_a_guest_is_still_there_after_a_crash_of_the_yard_and_gone_with_its_pod(networked: Yard) -> None:
    place = address(networked, "two")
    page(place)
    port = networked.port()
    networked.kill()

    assert page(place).startswith("two ")
    with running(networked.directory, "--port", str(port)) as again:
        assert address(again, "two") == place
        again.delete("virtualmachines", "two")
        again.gone("virtualmachineinstances", "two")
        eventually(lambda: len(namespaces()) == 1, 60)
        assert page(address(again, "one")) == "one 10.0.2.2/24 1500\n"
    assert namespaces() == []
    assert "dy-" not in run("ip", "-brief", "link")


def namespaces() -> list[str]:
    """The pods' namespaces of yards."""
    bridges = [line.split()[0] for line in run("ip", "-brief", "link").splitlines() if line.startswith("dy-")]
    return [
        path.name
        for path in Path("/run/netns").iterdir()
        if any(path.name.startswith(f"{bridge}-") for bridge in bridges)
    ]


def test_a_guest_network_that_overlaps_is_refused_by_name(tmp_path: Path) -> None:
    with outer(tmp_path):
        guarded()
        code, said = Yard.refused(tmp_path / "yard", "--guest-network", "172.17.4.0/22")

    assert code != 0
    assert "--guest-network 172.17.4.0/22 overlaps 172.17.0.0/16 of docker0: choose another" in said
