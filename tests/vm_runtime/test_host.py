"""The probe of KVM: its program is sound where processors are, and its answer is kept for one boot only."""

import json
import subprocess
import threading
from pathlib import Path

import pytest

from vm_runtime.agent import host
from vm_runtime.agent.host import acceleration, probed

SOURCE = Path(host.__file__).with_name("probe.S")


def test_the_program_gets_through_on_an_emulated_processor() -> None:
    assert probed("tcg").kvm


def test_the_program_is_what_its_source_says(tmp_path: Path) -> None:
    subprocess.run(["as", "--64", SOURCE, "-o", tmp_path / "probe.o"], check=True)
    linking = ["ld", "-Ttext=0xff000", "--oformat=binary", "-o", tmp_path / "probe.bin", tmp_path / "probe.o"]
    subprocess.run(linking, check=True)

    assert tmp_path.joinpath("probe.bin").read_bytes() == SOURCE.with_suffix(".bin").read_bytes()


def test_says_why_an_accelerator_does_not_work() -> None:
    found = probed("no-such-accelerator")

    assert not found.kvm
    assert "no-such-accelerator" in found.reason


@pytest.mark.guest
def test_agrees_with_a_real_kernel(guest_image: Path) -> None:
    command = [
        "qemu-system-x86_64",
        "-accel",
        "kvm",
        "-m",
        "256",
        "-nodefaults",
        "-display",
        "none",
        "-snapshot",
    ]
    command += ["-drive", f"file={guest_image},format=qcow2,if=virtio", "-serial", "stdio"]
    boots = False
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as machine:
        deadline = threading.Timer(30, machine.kill)
        deadline.start()
        for line in machine.stdout or ():
            boots = boots or b"Hello from a guest" in line
            if boots or b"KVM internal error" in line:
                machine.kill()
        deadline.cancel()

    assert acceleration().kvm == boots


@pytest.mark.parametrize(
    ("mode", "root", "kvm"),
    [(0o666, True, True), (0o660, True, False), (0o600, True, False), (0o660, False, True)],
)
def test_what_only_root_may_open_is_of_no_use_to_guests(mode: int, root: bool, kvm: bool) -> None:
    works = host.Acceleration(kvm=True, reason="it ran")

    assert host.for_guests(works, mode, root=root).kvm == kvm


def test_keeps_its_answer_for_one_boot(tmp_path: Path) -> None:
    kept = tmp_path / "acceleration"

    first = acceleration(kept)

    if kept.exists():  # only where there is a device to probe
        boot = json.loads(kept.read_text())
        kept.write_text(json.dumps({**boot, "reason": "kept"}))
        assert acceleration(kept).reason == "kept"
        kept.write_text(json.dumps({**boot, "boot": "another", "reason": "kept"}))
    assert acceleration(kept) == first


def test_probes_again_when_what_it_kept_is_damaged(tmp_path: Path) -> None:
    kept = tmp_path / "acceleration"
    kept.write_text("{")

    assert acceleration(kept) == acceleration()
