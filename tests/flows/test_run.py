"""`diskyard run` as a newcomer types it: one command, and the guest's console."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.demo.test_demo import processes_that_know
from tests.disk.tars import entry, tar
from tests.flows.test_sources import allow_plain_http
from tests.flows.yard import Yard
from tests.guest import GREETING
from tests.importer.publisher import Publisher
from tests.importer.registries import registry
from tests.terminal import terminal
from tests.vm_runtime import bootsector, installer

pytestmark = [pytest.mark.guest, pytest.mark.timeout(300)]


def test_a_file_of_this_machine_runs_in_a_yard_of_its_own(tmp_path: Path, guest_image: Path) -> None:
    surroundings = {"DISKYARD_DATA_DIR": str(tmp_path / "yard"), "KUBECONFIG": ""}

    with terminal(surroundings, "run", str(guest_image), "--name", "hello") as run:
        run.shows(GREETING.decode())
        run.shows("This is a shell")
        run.type("\x1d")
        assert run.ended() == 0

    assert "diskyard delete vm hello" in run.shown
    assert not processes_that_know(tmp_path)


def test_a_url_runs_in_the_yard_that_is_there_and_goes_with_its_machine(
    yard: Yard, guest_url: str, tmp_path: Path
) -> None:
    key = tmp_path / "key.pub"
    key.write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA me@here\n")
    words = ("run", guest_url, "--name", "fetched", "--ssh-key", str(key), "--size", "2Gi", "--no-console")

    with terminal({"KUBECONFIG": str(yard.kubeconfig)}, *words) as run:
        assert run.ended() == 0, run.shown

    assert f"Import {guest_url}" in run.shown
    assert "Succeeded" in run.shown
    yard.console_says("fetched", GREETING.decode())
    assert yard.get("datavolumes", "fetched")["status"]["phase"] == "Succeeded"
    with terminal({"KUBECONFIG": str(yard.kubeconfig)}, *words) as again:
        assert again.ended() == 3
    assert "there is a machine fetched already" in again.shown

    yard.delete("virtualmachines", "fetched")
    yard.gone("virtualmachines", "fetched")
    yard.gone("datavolumes", "fetched")


def test_an_iso_installs_onto_a_disk_of_its_own_with_its_discs_and_its_cloud_init(
    yard: Yard, tmp_path: Path
) -> None:
    surroundings = {"KUBECONFIG": str(yard.kubeconfig)}
    iso, drivers, user_data = (tmp_path / name for name in ("setup.iso", "drivers.iso", "user.yaml"))
    installer.disc(iso)
    drivers.write_bytes(installer.drivers("drivers of a disc"))
    user_data.write_text("#cloud-config\nhostname: installed\n")
    size = ("--size", "1Gi", "--memory", "64Mi", "--cpus", "2")
    beside = ("--cdrom", str(drivers), "--cloud-init", str(user_data))

    with terminal(surroundings, "run", str(iso), *size, *beside, "--no-console") as run:
        assert run.ended() == 0, run.shown

    for words in ("root: 1Gi, empty", f"Upload {iso}", f"Upload {drivers}", "diskyard delete vm setup"):
        assert words in run.shown
    yard.console_says("setup", "Installing with drivers of a disc")
    yard.console_says("setup", "Installed")
    stopped = yard.until(
        "virtualmachines", "setup", lambda vm: vm["status"].get("printableStatus") == "Stopped", 120
    )
    domain = stopped["spec"]["template"]["spec"]["domain"]
    assert (domain["memory"]["guest"], domain["cpu"]["cores"]) == ("64Mi", 2)
    told = yard.core().read_namespaced_secret("setup-cloud-init", "default")
    assert base64.b64decode(told.data["userdata"]) == user_data.read_bytes()

    with terminal(surroundings, "start", "setup") as start:
        assert start.ended() == 0, start.shown
    yard.console_says("setup", "Start number 1 from the disk")
    taken_away(yard, "setup", "setup-cdrom", "setup-cdrom-2")


def test_a_container_image_runs_from_a_registry_that_the_yard_trusts(yard: Yard, tmp_path: Path) -> None:
    surroundings = {"KUBECONFIG": str(yard.kubeconfig)}
    with registry(tmp_path / "registry", tmp_path / "store") as served:
        image = Publisher(served, tmp_path / "layout", "hello").push(
            tar(
                [entry("disk/hello.img", bootsector.disk("Hello out of a container", bootsector.Then.BUTTON))]
            )
        )
        with terminal(surroundings, "run", image, "--no-console") as refused:
            assert refused.ended() == 3, refused.shown
        assert "insecureRegistries" in refused.shown
        allow_plain_http(yard, served.host)

        with terminal(surroundings, "run", image, "--memory", "64Mi", "--no-console") as run:
            assert run.ended() == 0, run.shown

    assert f"Import {image}" in run.shown
    yard.console_says("hello", "Hello out of a container")
    taken_away(yard, "hello")


def taken_away(yard: Yard, name: str, *discs: str) -> None:
    """As `diskyard run` has said: the machine, and its disks with it."""
    with terminal({"KUBECONFIG": str(yard.kubeconfig)}, "delete", "vm", name) as away:
        assert away.ended() == 0, away.shown
    for disk in (name, *discs):
        yard.gone("datavolumes", disk)


def test_the_example_of_a_front_end_does_what_it_says(yard: Yard, guest_url: str) -> None:
    example = Path(__file__).parents[2] / "docs/examples/front_end.py"
    surroundings = {**os.environ, "KUBECONFIG": str(yard.kubeconfig)}

    ended = subprocess.run(
        [sys.executable, example, guest_url],
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert "machine: Running" in ended.stdout
    assert 'kubevirt_vmi_cpu_usage_seconds_total{name="front-end"' in ended.stdout
    yard.gone("virtualmachines", "front-end")
