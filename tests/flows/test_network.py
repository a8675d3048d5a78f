"""Guests on a network: found at their pods' addresses, with the network of the machine left alone."""

import http.client
import json
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cli.capture import captured
from diskyard.api.meta import Key
from diskyard.errors import BadRequest, ServerError
from diskyard.kube.http import connect
from tests.builders import eventually
from tests.flows.yard import Yard, data_volume, disconnect, machine, running
from tests.imageserver import image_server
from tests.outer import PAGE, WORLD, guarded, outer, run

pytestmark = pytest.mark.xdist_group("networks")

DOORS = "/apis/subresources.kubevirt.io/v1/namespaces/default"
PLAIN = "plain.kubevirt.io"


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
            yard.create(probed(with_card(with_queues(machine(name, name)), binding)))
        yield yard


def probed(vm: dict[str, Any]) -> dict[str, Any]:
    """Have it be ready when its page is there, and its agent answers."""
    way = {"one": {"httpGet": {"port": 80}}, "two": {"guestAgentPing": {}}}[vm["metadata"]["name"]]
    vm["spec"]["template"]["spec"]["readinessProbe"] = {**way, "periodSeconds": 1, "timeoutSeconds": 20}
    return vm


def with_queues(vm: dict[str, Any]) -> dict[str, Any]:
    """Have the guest's card a queue for each of its two processors."""
    domain = vm["spec"]["template"]["spec"]["domain"]
    domain["cpu"] = {"cores": 2}
    domain["devices"]["networkInterfaceMultiqueue"] = True
    return vm


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
    stream = client.stream(f"{DOORS}/virtualmachineinstances/{name}/console", PLAIN)
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
    card = status["interfaces"][0]
    assert (card["name"], card["podInterfaceName"], card["linkState"]) == ("default", "eth0", "up")
    assert card["queueCount"] == 2
    assert "domain" in card["infoSource"]  # its agent may have spoken too by now
    assert not [each for each in status["conditions"] if each["type"] == "UserModeNetworking"]


def test_what_a_guests_card_carries_is_counted(networked: Yard) -> None:
    page(address(networked, "one"))
    client = connect(networked.kubeconfig)

    def carried(name: str) -> float:
        """Nothing, too, where the guest did not answer in time."""
        start = f'kubevirt_vmi_network_{name}_bytes_total{{interface="default",name="one",'
        lines = [each for each in client.text("/metrics").splitlines() if each.startswith(start)]
        return sum(float(each.rpartition(" ")[2]) for each in lines)

    for name in ("receive", "transmit"):
        eventually(lambda name=name: carried(name) > 0)
    client.close()


def test_only_its_ports_lead_to_a_guest_that_names_some(networked: Yard) -> None:
    place = address(networked, "one")
    page(place)

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((place, 8080), 60)


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


def test_a_port_of_a_guest_is_a_stream_as_virtctl_opens_it(networked: Yard) -> None:
    page(address(networked, "one"))
    client = connect(networked.kubeconfig)
    for kind in ("virtualmachines", "virtualmachineinstances"):
        for tail in ("80", "80/tcp"):
            stream = client.stream(f"{DOORS}/{kind}/one/portforward/{tail}", PLAIN)
            stream.settimeout(60)
            stream.send_binary(b"GET / HTTP/1.0\r\n\r\n")
            heard = b""
            while b"one 10.0.2.2" not in heard:
                heard += stream.recv()
            stream.close()
    with pytest.raises(ServerError, match=r"dialing VM: dial tcp .*:81: Connection refused"):
        client.stream(f"{DOORS}/virtualmachineinstances/one/portforward/81", PLAIN)
    with pytest.raises(BadRequest, match="expected a port from 1 to 65535, found '0'"):
        client.stream(f"{DOORS}/virtualmachineinstances/one/portforward/0", PLAIN)
    with pytest.raises(BadRequest, match="expected protocol tcp or udp, found 'icmp'"):
        client.stream(f"{DOORS}/virtualmachineinstances/one/portforward/80/icmp", PLAIN)
    client.close()


def test_a_guest_is_ready_when_it_answers_its_probe_and_its_agent_is_heard(networked: Yard) -> None:
    for name in ("one", "two"):
        networked.until("virtualmachineinstances", name, is_well_known, 180)


def is_well(instance: dict[str, Any]) -> bool:
    said = {each["type"]: each["status"] for each in instance["status"].get("conditions", ())}
    return said.get("AgentConnected") == said.get("Ready") == "True"


def is_well_known(instance: dict[str, Any]) -> bool:
    said = [each.get("infoSource") for each in instance["status"].get("interfaces", ())]
    return is_well(instance) and said == ["domain, guest-agent"]


def test_the_agent_says_what_runs_and_freezes_its_file_systems(networked: Yard) -> None:
    networked.until("virtualmachineinstances", "one", is_well, 180)
    one, client = f"{DOORS}/virtualmachineinstances/one", connect(networked.kubeconfig)

    assert json.loads(client.text(f"{one}/guestosinfo"))["guestAgentVersion"]
    for verb in ("freeze", "unfreeze"):
        client.order(f"{one}/{verb}", {"unfreezeTimeout": "1m0s"})
    assert json.loads(client.text(f"{one}/userlist"))["items"] == []
    assert json.loads(client.text(f"{one}/filesystemlist"))["kind"] == "VirtualMachineInstanceFileSystemList"
    client.close()


def test_the_image_of_a_running_guest_is_taken_while_its_agent_holds_its_file_systems(
    networked: Yard,
) -> None:
    networked.until("virtualmachineinstances", "one", is_well, 180)
    client, said = connect(networked.kubeconfig), list[str]()

    captured(client, Key("one", "default"), None, "frozen", said.append)

    assert said[-1].endswith(": its agent froze the file systems meanwhile)")
    assert "snapshot" in networked.get("datasources", "frozen")["spec"]["source"]
    for verb in ("freeze", "unfreeze"):  # refused where it was frozen still
        client.order(f"{DOORS}/virtualmachineinstances/one/{verb}", {"unfreezeTimeout": "1m0s"})
    client.close()


def test_a_service_leads_to_the_ports_of_guests(networked: Yard) -> None:
    page(address(networked, "one"))
    wanted = {
        "metadata": {"name": "web"},
        "spec": {"selector": {"vm.kubevirt.io/name": "one"}, "ports": [{"port": 8000, "targetPort": 80}]},
    }
    networked.core().create_namespaced_service("default", wanted)

    def place() -> str:
        return str(networked.core().read_namespaced_service("web", "default").spec.cluster_ip or "")

    assert page(eventually(place, 60), 8000) == "one 10.0.2.2/24 1500\n"


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
    eventually(lambda: "dy-" not in run("ip", "-brief", "link"))


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
