"""What the agent inside a guest says, and what is asked of it."""

import json
import socket
import threading
from contextlib import closing
from pathlib import Path

import pytest

from cli import capture
from diskyard.api.config import config
from diskyard.errors import BadRequest, Conflict
from tests import builders
from tests.vm_runtime.test_domain import guest
from vm_runtime.controller import subresources
from vm_runtime.controller.pod import launcher_pod
from vm_runtime.launcher import agent, question

FOUND = {
    "os.id": "debian", "os.pretty-name": "Debian", "hostname": "vm", "timezone.name": "UTC", "timezone.offset": 0,
    "user.count": 1, "user.0.name": "root", "user.0.login-time": 1500,
    "fs.count": 1, "fs.0.name": "vda1", "fs.0.mountpoint": "/", "fs.0.fstype": "ext4", "fs.0.used-bytes": 5,
    "fs.0.total-bytes": 10, "fs.0.disk.count": 1, "fs.0.disk.0.serial": "s",
}  # fmt: skip


def test_its_flat_figures_become_kubevirts_objects() -> None:
    disk = {
        "diskName": "vda1", "mountPoint": "/", "fileSystemType": "ext4", "usedBytes": 5, "totalBytes": 10,
        "disk": [{"serial": "s"}],
    }  # fmt: skip
    about = {
        "version": "7.2",
        "supported_commands": [{"name": "guest-ping", "enabled": True, "success-response": True}],
    }

    assert agent.system(FOUND, about, "frozen") == {
        "guestAgentVersion": "7.2", "supportedCommands": [{"name": "guest-ping", "enabled": True}], "hostname": "vm",
        "os": {"id": "debian", "prettyName": "Debian"}, "timezone": "UTC, 0",
        "userList": [{"userName": "root", "loginTime": 1.5}], "fsInfo": {"disks": [disk]}, "fsFreezeStatus": "frozen",
    }  # fmt: skip


def test_lists_are_lists_on_the_wire() -> None:
    assert subresources.shown("userlist", []) == {
        "kind": "VirtualMachineInstanceGuestOSUserList", "apiVersion": "kubevirt.io/v1", "metadata": {}, "items": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("said", "seconds"), [("5m0s", 300.0), ("1h2m3s", 3723.0), ("500ms", 0.5), ("", None), ("0s", None)]
)
def test_a_freeze_has_an_end(said: str, seconds: float | None) -> None:
    wishes = subresources.wishes("freeze", {"unfreezeTimeout": said})

    assert wishes.get("seconds") == seconds


def test_a_duration_that_is_none_is_refused() -> None:
    with pytest.raises(
        BadRequest, match="unfreezeTimeout must be a duration such as 5m0s, found '5 minutes'"
    ):
        subresources.wishes("freeze", {"unfreezeTimeout": "5 minutes"})


@pytest.mark.parametrize("verb", ["freeze", "pause"])
def test_who_captures_a_disk_and_is_killed_leaves_no_guest_that_stands_still(verb: str) -> None:
    assert subresources.wishes(verb, capture.GOES_ON[verb]) == {"seconds": 600.0}
    assert subresources.wishes("pause", {}) == {}


def test_without_an_agent_what_needs_one_is_refused() -> None:
    obj = {**builders.stored(builders.instance("vm")), "status": {"phase": "Running"}}

    with pytest.raises(Conflict, match="VMI does not have guest agent connected"):
        subresources.check_order(obj, "guestosinfo")


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ({"httpGet": {"port": 80}, "periodSeconds": 5}, {"httpGet": {"port": 80}, "periodSeconds": 5}),
        ({"guestAgentPing": {}}, {"exec": {"command": ["diskyard-launcher", "--ask", "ping"]}}),
        (
            {"exec": {"command": ["cat", "/x"]}, "timeoutSeconds": 4},
            {
                "exec": {"command": ["diskyard-launcher", "--ask", "exec", "4", "cat", "/x"]},
                "timeoutSeconds": 4,
            },
        ),
    ],
)
def test_a_guests_probe_is_its_launchers(said: dict[str, object], asked: dict[str, object]) -> None:
    instance = guest(readinessProbe=said)
    obj = builders.stored(builders.instance("vm"))

    pod = launcher_pod(obj, instance, config({}), accelerated=False)

    assert pod["spec"]["containers"][0]["readinessProbe"] == asked


@pytest.mark.parametrize(
    ("words", "answer", "code"),
    [
        (["ping"], {"done": "ping"}, 0),
        (["ping"], {"error": "the guest's agent did not do guest-ping"}, 1),
        (["exec", "3", "false"], {"done": "run", "said": {"code": 7, "text": "no"}}, 7),
        (["nonsense"], {}, 1),
    ],
)
def test_a_probe_ends_as_the_launcher_answers(
    words: list[str], answer: dict[str, object], code: int, tmp_path: Path
) -> None:
    control = tmp_path / "control.sock"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as door:
        door.bind(str(control))
        door.listen()

        def serve() -> None:
            with door.accept()[0] as came, came.makefile("rb") as lines:
                lines.readline()
                came.sendall(json.dumps(answer).encode() + b"\n")

        if words != ["nonsense"]:
            threading.Thread(target=serve, daemon=True).start()
        assert question.asked(words, control) == code


def test_a_launcher_that_is_gone_is_not_well(tmp_path: Path) -> None:
    assert question.asked(["ping"], tmp_path / "nobody") == 1
