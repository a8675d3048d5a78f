"""kill -9 at the worst moments: what was acknowledged is there, what was half done goes on, what ran still runs."""

import signal
from pathlib import Path

from tests.flows.yard import data_volume, machine, processes, running
from tests.guest import GREETING


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


def test_a_running_guest_is_found_again(tmp_path: Path, guest_url: str) -> None:
    with running(tmp_path / "yard") as yard:
        yard.create(data_volume("root", {"http": {"url": guest_url}}, "1Gi"))
        yard.create(machine("guest", "root"))
        yard.console_says("guest", GREETING.decode())
        before = yard.wait("virtualmachineinstances", "guest", "Running")
        yard.kill()

        with running(tmp_path / "yard") as again:
            after = again.until("virtualmachines", "guest", lambda vm: vm["status"].get("ready") is True)

            found = again.get("virtualmachineinstances", "guest")
            assert found["metadata"]["uid"] == before["metadata"]["uid"]
            assert found["status"]["phase"] == "Running"
            assert after["status"]["printableStatus"] == "Running"
            assert again.stop() == 0
            assert not processes(tmp_path / "yard")


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

        assert processes(tmp_path / "yard")
        with running(tmp_path / "yard") as again:
            again.wait("datavolumes", "slow", "Succeeded")
