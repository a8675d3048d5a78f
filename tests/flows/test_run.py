"""`diskyard run` as a newcomer types it: one command, and the guest's console."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.demo.test_demo import processes_that_know
from tests.flows.yard import Yard
from tests.guest import GREETING
from tests.terminal import terminal

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

    yard.console_says("fetched", GREETING.decode())
    assert yard.get("datavolumes", "fetched")["status"]["phase"] == "Succeeded"
    with terminal({"KUBECONFIG": str(yard.kubeconfig)}, *words) as again:
        assert again.ended() == 3
    assert "there is a machine fetched already" in again.shown

    yard.delete("virtualmachines", "fetched")
    yard.gone("virtualmachines", "fetched")
    yard.gone("datavolumes", "fetched")


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
