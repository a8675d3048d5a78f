"""The real virtctl starts, joins, enters, pauses and stops a guest, on a yard and on a real cluster."""

import http.client
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from diskyard.api.meta import API_SERVICE, ROLE_BINDING, Key
from diskyard.errors import ApiError, Forbidden, NotFound
from diskyard.kube.http import HttpClient, connect
from tests.builders import eventually, some
from tests.cluster.programs import virtctl
from tests.cluster.server import STRANGER, Cluster
from tests.flows.cluster import Clustered
from tests.flows.place import Place
from tests.flows.yard import data_volume, machine
from tests.guest import GREETING
from tests.imageserver import ImageServer
from tests.letin import DATAGRAMS
from tests.letin import guest_image as image_that_lets_in
from tests.terminal import terminal

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("uploads")]
RELEASE = "v1.6"
OLD = "v0.36"
MACHINES_OWN = ("-t", "-oStrictHostKeyChecking=no", "-t", "-oUserKnownHostsFile=/dev/null")
"""With the machine's client of SSH, which knows nobody."""
VIRTCTLS_OWN = ("--local-ssh=false", "--known-hosts=")
"""With the one in virtctl."""
DOORS = "/apis/subresources.kubevirt.io/v1/namespaces/default"
START = f"{DOORS}/virtualmachines/commanded/start"


@pytest.fixture(params=["yard", "cluster"])
def place(request: pytest.FixtureRequest) -> Place:
    """Each place in turn."""
    found: Place = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A user's private SSH key."""
    made = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", made], check=True)
    return made


@pytest.fixture
def guest(place: Place, images: ImageServer, key: Path) -> Iterator[Place]:
    """The place, with a stopped machine `commanded`, which will let in who has the key."""
    shutil.copy(image_that_lets_in(), images.root / "letin.qcow2")
    place.create(data_volume("commanded", {"http": {"url": images.url("letin.qcow2")}}, "1Gi"))
    public = {"metadata": {"name": "keys"}, "stringData": {"me": key.with_suffix(".pub").read_text()}}
    place.core().create_namespaced_secret("default", public)
    place.create(with_keys(machine("commanded", "commanded", strategy="Halted"), "keys"))
    place.wait("datavolumes", "commanded", "Succeeded", 240)
    yield place
    place.delete("virtualmachines", "commanded")
    place.gone("virtualmachines", "commanded", 240)
    place.delete("datavolumes", "commanded")
    place.gone("datavolumes", "commanded", 120)
    place.core().delete_namespaced_secret("keys", "default")


def with_keys(vm: dict[str, Any], secret: str) -> dict[str, Any]:
    """The machine, told the public keys of a Secret by cloud-init."""
    spec = vm["spec"]["template"]["spec"]
    spec["domain"]["devices"]["disks"].append({"name": "seed", "disk": {"bus": "virtio"}})
    spec["volumes"].append({"name": "seed", "cloudInitNoCloud": {"userData": "#cloud-config\n{}\n"}})
    source, method = {"secret": {"secretName": secret}}, {"noCloud": {}}
    spec["accessCredentials"] = [{"sshPublicKey": {"source": source, "propagationMethod": method}}]
    return vm


def surroundings(place: Place) -> dict[str, str]:
    return {"KUBECONFIG": str(place.kubeconfig)}


def ran(place: Place, *words: str, release: str = RELEASE) -> str:
    """What it says, and behind that its exit code."""
    env = {**os.environ, **surroundings(place)}
    command = [virtctl(release), *words]
    done = subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
    )
    return f"{done.stdout}{done.stderr}exit {done.returncode}"


def becomes(place: Place, word: str) -> dict[str, Any]:
    return place.until(
        "virtualmachines", "commanded", lambda vm: vm["status"].get("printableStatus") == word, 240
    )


def test_a_guest_is_started_joined_entered_paused_and_stopped(guest: Place, key: Path) -> None:
    assert ran(guest, "start", "commanded") == "VM commanded was scheduled to start\nexit 0"
    becomes(guest, "Running")
    guest.console_says("commanded", GREETING.decode(), 240)
    guest.console_says("commanded", "This is a shell", 240)

    with terminal(surroundings(guest), "console", "commanded", program=(str(virtctl(RELEASE)),)) as joined:
        joined.shows("Successfully connected to commanded console")
        joined.type("echo x$((3 + 4))y\n")
        joined.shows("x7y")
        joined.type("\x1d")
        assert joined.ended() == 0
    assert screen(guest) == b"RFB 003.008\n"
    if os.geteuid() == 0:
        has_ports(guest, key)
    gets_a_volume_and_gives_it_back(guest)

    assert ran(guest, "pause", "vm", "commanded") == "VMI commanded was scheduled to pause\nexit 0"
    becomes(guest, "Paused")
    assert "VMI is already paused" in ran(guest, "pause", "vm", "commanded")
    assert ran(guest, "unpause", "vm", "commanded") == "VMI commanded was scheduled to unpause\nexit 0"
    becomes(guest, "Running")

    assert ran(guest, "stop", "commanded", release=OLD) == "VM commanded was scheduled to stop\nexit 0"
    becomes(guest, "Stopped")
    assert "VM is not running" in ran(guest, "stop", "commanded")
    assert 'virtualmachine.kubevirt.io "nobody" not found' in ran(guest, "start", "nobody")


def gets_a_volume_and_gives_it_back(place: Place) -> None:
    """With the machine's word for it: what is the guest's alone would be taken away by the machine."""
    place.create(data_volume("more", {"blank": {}}))
    place.wait("datavolumes", "more", "Succeeded", 240)
    more = ("commanded", "--volume-name=more")

    assert "is owned by a VM: add --persist" in ran(place, "addvolume", *more)
    assert "Successfully submitted add volume request" in ran(place, "addvolume", *more, "--persist")
    place.until("virtualmachineinstances", "commanded", lambda vmi: phases(vmi).get("more") == "Ready", 240)
    assert "Successfully submitted remove volume request" in ran(place, "removevolume", *more, "--persist")
    place.until("virtualmachineinstances", "commanded", lambda vmi: "more" not in phases(vmi), 240)

    place.delete("datavolumes", "more")
    place.gone("datavolumes", "more", 120)


def phases(instance: dict[str, Any]) -> dict[str, str]:
    """How far each of its volumes is."""
    return {each["name"]: each.get("phase", "") for each in instance["status"].get("volumeStatus", [])}


def screen(place: Place) -> bytes:
    """How the guest's screen greets, by `virtctl vnc --proxy-only`."""
    env = {**os.environ, **surroundings(place)}
    command = [virtctl(RELEASE), "vnc", "commanded", "--proxy-only"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as showing:
        assert showing.stdout
        try:
            line = showing.stdout.readline().decode()
            port = int("".join(char for char in line if char.isdigit()))
            with socket.create_connection(("127.0.0.1", port), 60) as viewer:
                return viewer.recv(12, socket.MSG_WAITALL)
        finally:
            showing.kill()


def has_ports(place: Place, key: Path) -> None:
    """Where root runs it, who can give guests a network of their own."""
    place.console_says("commanded", "network: commanded ", 240)
    for ports, answer, begins in (
        ("8080:80", answered, "commanded "),
        (f"udp/8080:{DATAGRAMS}", echoed, "heard a question"),
    ):
        said = eventually(lambda ports=ports, answer=answer: forwarded(place, ports, answer), 240)
        assert said.startswith(begins)
    is_entered(place, key)
    takes_and_gives_files(place, key)


def forwarded(place: Place, ports: str, answer: Callable[[str], str]) -> str:
    """What the guest answers by `virtctl port-forward`; nothing: there was no answer this time."""
    here = f"127.{55 + os.getpid() % 8}.{os.getpid() // 8 % 250}.1"  # nobody else's on this machine
    env = {**os.environ, **surroundings(place)}
    command = [virtctl(RELEASE), "port-forward", "vm/commanded", "--address", here, ports]
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as forward:
        try:
            return eventually(lambda: answer(here), 60)
        except AssertionError:
            return ""
        finally:
            forward.kill()


def answered(address: str) -> str:
    """What a web server says there, on port 8080."""
    connection = http.client.HTTPConnection(address, 8080, timeout=30)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException) as error:
        raise AssertionError(f"{address}: {error}") from error
    finally:
        connection.close()


def echoed(address: str) -> str:
    """What comes back for a datagram to port 8080 there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(5)
        try:
            asking.connect((address, 8080))
            asking.send(b"a question")
            return asking.recv(64).decode()
        except OSError as error:
            raise AssertionError(f"{address}: {error}") from error


def is_entered(place: Place, key: Path) -> None:
    """With the machine's own ssh through `virtctl port-forward --stdio`, and with the client in virtctl."""
    ask = ("--identity-file", str(key), "--command", "echo I am $(id -un) of $(hostname)")
    for words in (("root@vm/commanded", *MACHINES_OWN), ("root@vmi/commanded", *VIRTCTLS_OWN)):
        said = eventually(lambda words=words: entered(place, "ssh", *words, *ask), 240)
        assert "I am root of commanded\n" in said


def takes_and_gives_files(place: Place, key: Path) -> None:
    """By both ways, to a guest that has no SFTP: `-O` is for those."""
    sent, back = key.with_name("sent"), key.with_name("back")
    for target, client in (
        ("root@vm/commanded", (*MACHINES_OWN, "-t-O")),
        ("root@vmi/commanded", VIRTCTLS_OWN),
    ):
        sent.write_bytes(os.urandom(300_000))
        for way in ((str(sent), f"{target}:/root/file"), (f"{target}:/root/file", str(back))):
            words = ("scp", *way, "--identity-file", str(key), *client)
            eventually(lambda words=words: entered(place, *words), 240)
        same = back.read_bytes() == sent.read_bytes()
        assert same, client


def entered(place: Place, *words: str) -> str:
    """What was said inside."""
    said = ran(place, *words)
    assert said.endswith("exit 0"), said
    return said


def test_the_cluster_says_that_the_api_is_there_and_lists_what_it_has(
    real: Cluster, cluster: Clustered
) -> None:
    def available() -> bool:
        found = real.client.get(API_SERVICE, Key("v1.subresources.kubevirt.io"))
        known = {each["type"]: each["status"] for each in found["status"]["conditions"]}
        return known.get("Available") == "True"

    eventually(available, 120)
    listed = real.client.text("/apis/subresources.kubevirt.io/v1")
    for part in ("virtualmachines/start", "virtualmachineinstances/console"):
        assert f'"name":"{part}"' in listed
    assert "gitVersion" in real.client.text("/apis/subresources.kubevirt.io/v1/version")


def test_only_who_may_starts_a_guest(real: Cluster, cluster: Clustered) -> None:
    stranger = connect(real.kubeconfig_for(STRANGER))
    refusal = 'cannot update resource "virtualmachines/start" in API group "subresources.kubevirt.io"'
    with pytest.raises(Forbidden, match=re.escape(refusal)):
        stranger.order(START, {})
    subject = {"kind": "User", "name": STRANGER.name, "apiGroup": "rbac.authorization.k8s.io"}
    ref = {"kind": "ClusterRole", "name": "edit", "apiGroup": "rbac.authorization.k8s.io"}
    bound = some(ROLE_BINDING, "edits", "default", subjects=[subject], roleRef=ref)
    real.client.create(ROLE_BINDING, bound)
    eventually(lambda: refused(stranger) is NotFound, 60)

    real.client.delete(ROLE_BINDING, Key("edits", "default"))

    eventually(lambda: refused(stranger) is Forbidden, 60)
    stranger.close()


def refused(client: HttpClient) -> type[ApiError]:
    """With what a machine is not started that is not there."""
    with pytest.raises(ApiError, match="commanded") as refusal:
        client.order(START, {})
    return refusal.type
