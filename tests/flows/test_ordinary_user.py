"""A yard without root: disks are imported, guests run, and what needs root is refused with a sentence."""

import json
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.yard import Yard, data_volume, machine, running
from tests.guest import GREETING

PYTHON = Path(f"/usr/bin/python{sysconfig.get_python_version()}")
NOBODY = 65534
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="as an ordinary user every other flow says the same"),
    pytest.mark.skipif(not PYTHON.exists(), reason="needs a Python of this version that every user may run"),
]


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A directory of the user's own; pytest's are closed to everyone but root."""
    folder = Path(tempfile.mkdtemp(prefix="diskyard-user-"))
    os.chown(folder, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def program(home: Path) -> tuple[str, ...]:
    """`diskyard`, installed where that user may read it, and run as that user."""
    venv = home / "venv"
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", venv], check=True)
    here, there = (Path(sysconfig.get_path("purelib", vars=vars_)) for vars_ in ({}, {"base": str(venv)}))
    unfinished = shutil.ignore_patterns("*.pyc.*")  # another process compiles what it runs first
    shutil.copytree(here, there, copy_function=_linked, dirs_exist_ok=True, ignore=unfinished)
    for script in Path(sysconfig.get_path("scripts")).glob("diskyard*"):
        _, _, rest = script.read_text().partition("\n")
        (venv / "bin" / script.name).write_text(f"#!{venv}/bin/python\n{rest}")
        (venv / "bin" / script.name).chmod(0o755)
    who = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "env", "-i", f"HOME={home}")
    found = (*who, f"PATH={os.defpath}", str(venv / "bin" / "python"), "-m", "cli")
    said = subprocess.run([*found, "version"], capture_output=True, text=True, check=False, cwd=home)
    if said.returncode:
        pytest.skip(f"only root may look into this checkout: {said.stderr[-200:]}")
    return found


def _linked(source: str, target: str) -> str:
    """A second name for a file, where both lie on one disk; else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


@pytest.fixture(scope="module")
def yard(home: Path, program: tuple[str, ...]) -> Iterator[Yard]:
    with running(home / "yard", program=program) as found:
        yield found


def test_a_guest_boots_from_an_imported_disk_and_powers_off(yard: Yard, guest_url: str) -> None:
    yard.create(data_volume("root", {"http": {"url": guest_url}}, "1Gi"))
    yard.create(machine("guest", "root"))

    yard.console_says("guest", GREETING.decode(), 240)

    assert (yard.volume("root") / "disk.img").stat().st_uid == NOBODY
    yard.patch("virtualmachines", "guest", {"spec": {"runStrategy": "Halted"}})
    yard.gone("virtualmachineinstances", "guest", 120)


def test_a_block_volume_is_refused_with_what_it_needs(yard: Yard) -> None:
    claim = {
        "metadata": {"name": "bare"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "volumeMode": "Block",
            "resources": {"requests": {"storage": "8Mi"}},
        },
    }
    yard.core().create_namespaced_persistent_volume_claim("default", claim)

    yard.told("bare", "volumeMode Block needs loop devices, which need root: run `diskyard up` as root", 60)


def test_the_node_says_that_limits_hold_for_each_process_alone(yard: Yard) -> None:
    conditions = yard.core().list_node().items[0].status.conditions
    ready = next(each for each in conditions if each.type == "Ready")
    assert "memory limits hold for each process alone (rlimit): control groups need root" in ready.message


def test_the_upload_proxy_has_a_port_that_works(yard: Yard) -> None:
    labels = "cdi.kubevirt.io=cdi-uploadproxy"
    service = yard.core().list_namespaced_service("cdi", label_selector=labels).items[0]
    assert service.spec.ports[0].port > 1024


def test_the_doctor_says_what_it_costs(home: Path, program: tuple[str, ...]) -> None:
    said = subprocess.run(
        [*program, "doctor", "--json"], capture_output=True, text=True, check=False, cwd=home
    )

    found = {each["check"]: each for each in json.loads(said.stdout)}
    networks = found["Checking that guests get networks of their own"]
    assert (networks["verdict"], networks["found"]) == (
        "WARN",
        "only root can make networks for guests: guests reach out through this machine, and nothing reaches in",
    )
    opened, runs = (
        found[f"Checking if {what}"] for what in ("device /dev/kvm is accessible", "KVM runs a machine")
    )
    assert opened["verdict"] == "PASS" or runs["fix"] == opened["fix"] or "modprobe" in opened["fix"]
