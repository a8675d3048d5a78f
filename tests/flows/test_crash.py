"""kill -9 at the worst moments: what was acknowledged is there, what was half done goes on, what ran still runs."""

import os
import signal
from pathlib import Path
from typing import Any

from diskyard.api.names import kubernetes
from tests import guest
from tests.builders import eventually, within
from tests.flows.yard import data_volume, machine, processes, running
from tests.guest import GREETING

ENDS = {"qemu-system": "GuestCrashed", "diskyard-launcher": "Error", "supervisor.py": "Unknown"}
"""What is killed beside the yard, and what the next yard then says of its guest."""
TRUE_AGAIN = 10.0
"""Seconds from a yard's start to a status that is true."""


def test_an_import_survives_the_yard_and_goes_on(tmp_path: Path, slow_image: str) -> None:
    with running(tmp_path / "yard") as yard:
        yard.create(data_volume("slow", {"http": {"url": slow_image}}, "96Mi"))
        yard.wait("datavolumes", "slow", "ImportInProgress")
        yard.kill()
        assert processes(tmp_path / "yard"), "the importer outlives the yard"

        with running(tmp_path / "yard") as again:
            done = again.wait("datavolumes", "slow", "Succeeded")

            assert done["status"].get("restartCount", 0) == 0
            assert (again.volume("slow") / "disk.img").is_file()


def attached(instance: dict[str, Any], *phases: str) -> bool:
    """Whether what is said of the volume `more` is one of these, or anything at all."""
    said = [each["phase"] for each in instance["status"].get("volumeStatus") or () if each["name"] == "more"]
    return bool(said) and (not phases or said[0] in phases)


MORE = {"spec": {"template": {"spec": {"volumes": [
    {"name": "root", "dataVolume": {"name": "root"}},
    {"name": "more", "dataVolume": {"name": "more", "hotpluggable": True}},
]}}}}  # fmt: skip
"""One volume more for a guest that runs."""


def test_a_running_guest_is_found_again_and_gets_what_was_on_its_way_to_it(
    tmp_path: Path, guest_url: str
) -> None:
    """A DataVolume that is not even imported: its claim waits for the guest as its first consumer."""
    more = data_volume("more", {"http": {"url": guest_url}}, "1Gi")
    more["spec"]["storage"]["storageClassName"] = kubernetes.LOCAL_WAIT_CLASS
    with running(tmp_path / "yard") as yard:
        yard.create(data_volume("root", {"http": {"url": guest_url}}, "1Gi"))
        yard.create(machine("guest", "root"))
        yard.console_says("guest", GREETING.decode())
        before = yard.wait("virtualmachineinstances", "guest", "Running")
        yard.create(more)
        yard.wait("datavolumes", "more", "WaitForFirstConsumer")
        yard.patch("virtualmachines", "guest", MORE)
        yard.until("virtualmachineinstances", "guest", attached)
        yard.kill()

        with running(tmp_path / "yard") as again:
            after = again.until("virtualmachines", "guest", lambda vm: vm["status"].get("ready") is True)

            found = again.get("virtualmachineinstances", "guest")
            assert found["metadata"]["uid"] == before["metadata"]["uid"]
            assert found["status"]["phase"] == "Running"
            assert after["status"]["printableStatus"] == "Running"
            again.until("virtualmachineinstances", "guest", lambda vmi: attached(vmi, "Ready"), 180)
            assert again.get("datavolumes", "more")["status"]["phase"] == "Succeeded"
            assert again.stop() == 0
            assert not processes(tmp_path / "yard")


def test_what_ends_while_no_yard_runs_is_told_by_the_next(tmp_path: Path) -> None:
    names = {program: f"guest-{number}" for number, program in enumerate(ENDS)}
    with running(tmp_path / "yard") as yard:
        for name in names.values():
            yard.create(diskless(name))
        pods = {}
        for program, name in names.items():
            found = yard.wait("virtualmachineinstances", name, "Running")
            (pods[program],) = found["status"]["activePods"]
        yard.kill()
        families = {program: guest.processes(pod) for program, pod in pods.items()}
        for program, family in families.items():
            os.kill(guest.program(family, program), signal.SIGKILL)

        with running(tmp_path / "yard") as again:
            with within(TRUE_AGAIN):
                for program, name in names.items():
                    found = again.wait("virtualmachineinstances", name, "Failed")
                    assert found["status"]["reason"] == ENDS[program]
                    eventually(lambda family=families[program]: not any(map(guest.alive, family)))
            for program in names:
                eventually(lambda uid=pods[program]: uid not in Path("/proc/self/mountinfo").read_text())


def test_a_yard_whose_directory_is_removed_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "yard"
    with running(directory) as yard:
        yard.create(diskless("guest"))
        (pod,) = yard.wait("virtualmachineinstances", "guest", "Running")["status"]["activePods"]
        family = guest.processes(pod)

        directory.rename(tmp_path / "trash")
        code = yard.process.wait(120)
        yard.kill()

        said = (tmp_path / "yard.log").read_text()
        assert code == 3, said
        assert f"{directory} was removed" in said
        assert "Traceback" not in said
        eventually(lambda: not (processes(directory) or any(map(guest.alive, family))), 60)


def diskless(name: str) -> dict[str, Any]:
    """A guest that finds nothing to boot from, and waits."""
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {"name": name},
        "spec": {
            "domain": {
                "devices": {"interfaces": [], "autoattachPodInterface": False},
                "memory": {"guest": "32Mi"},
            }
        },
    }


def test_ctrl_c_stops_every_pod_and_the_next_up_starts_them_again(tmp_path: Path, guest_url: str) -> None:
    with running(tmp_path / "yard") as yard:
        yard.create(data_volume("root", {"http": {"url": guest_url}}, "1Gi"))
        yard.create(machine("guest", "root"))
        yard.console_says("guest", GREETING.decode())
        assert yard.stop() == 0
        assert not processes(tmp_path / "yard")

        with running(tmp_path / "yard") as again:
            again.console_says("guest", GREETING.decode())


def test_sigterm_leaves_pods_running_for_the_next_up(tmp_path: Path, slow_image: str) -> None:
    with running(tmp_path / "yard") as yard:
        yard.create(data_volume("slow", {"http": {"url": slow_image}}, "96Mi"))
        yard.wait("datavolumes", "slow", "ImportInProgress")

        assert yard.stop(signal.SIGTERM) == 0

        over = list((tmp_path / "yard/volumes").glob("*/disk.img"))
        assert processes(tmp_path / "yard") or over
        with running(tmp_path / "yard") as again:
            done = again.wait("datavolumes", "slow", "Succeeded")
            assert done["status"].get("restartCount", 0) == 0
