"""The doctor: verdicts like those of the tools that its users know, each with what to do."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli import cgroups, checks
from cli.packages import installation
from standalone.node.memory import UNLIMITED

DISKYARD = Path(sys.executable).with_name("diskyard")

ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
INSIDE = "vpn0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n"


def test_has_the_five_lines_of_virt_host_validate() -> None:
    said = subprocess.run([DISKYARD, "doctor", "--json"], capture_output=True, text=True, check=False)

    asked = {finding["check"] for finding in json.loads(said.stdout)}
    assert {
        "Checking for hardware virtualization",
        "Checking if device /dev/kvm exists",
        "Checking if device /dev/kvm is accessible",
        "Checking if device /dev/vhost-net exists",
        "Checking if device /dev/net/tun exists",
    } <= asked


@pytest.mark.skipif(
    not shutil.which("virt-host-validate"), reason="needs virt-host-validate (libvirt-clients)"
)
def test_says_of_devices_and_control_groups_what_virt_host_validate_says(tmp_path: Path) -> None:
    theirs = subprocess.run(
        ["virt-host-validate", "qemu"], capture_output=True, text=True, check=False, env={"LC_ALL": "C"}
    ).stdout
    said = re.findall(r"QEMU: (Checking [^:]*(?:/dev/vhost|/dev/net|cgroup)[^:]*?) +: (\w+)", theirs)

    ours = {each.check: each.verdict for each in checks.findings(tmp_path)}

    assert said
    assert [(check, ours.get(check)) for check, _ in said] == said


@pytest.mark.parametrize(
    ("mounts", "listed", "gone"),
    [
        ("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", "cpuset cpu io memory hugetlb pids", []),
        ("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", "cpu pids", ["cpuset", "memory", "blkio"]),
        (
            "cgroup /x cgroup rw,cpu,cpuacct 0 0\ncgroup /y cgroup rw,memory 0 0\n",
            "",
            ["cpuset", "devices", "blkio"],
        ),
        ("", "", list(cgroups.ASKED)),
    ],
    ids=["v2", "v2 with less", "v1", "none"],
)
def test_control_groups_of_both_kinds_are_known(
    tmp_path: Path, mounts: str, listed: str, gone: list[str]
) -> None:
    (tmp_path / "mounts").write_text(mounts)
    (tmp_path / "cgroup.controllers").write_text(listed)

    found = cgroups.missing(tmp_path, tmp_path / "mounts")

    assert [name for name, lacks in found if lacks] == gone


def test_a_missing_memory_controller_says_what_that_costs() -> None:
    found = checks.group("memory", missing=True)

    assert (found.verdict, found.found) == ("WARN", "pods' memory limits hold for each process alone")


def test_fails_nowhere_where_the_tests_run(tmp_path: Path) -> None:
    said = subprocess.run(
        [DISKYARD, "doctor", "--data-dir", tmp_path / "yard"], capture_output=True, text=True, check=False
    )

    assert (said.returncode, "FAIL" in said.stdout) == (0, False), said.stdout


def test_says_what_mends_whatever_does_not_pass(tmp_path: Path) -> None:
    for finding in checks.findings(tmp_path):
        assert finding.verdict == "PASS" or finding.fix, finding


@pytest.mark.parametrize(
    ("cpuinfo", "verdict"),
    [
        ("flags\t: fpu vmx sse2\nflags\t: fpu vmx sse2\n", "PASS"),
        ("flags\t: svm", "PASS"),
        ("flags\t: fpu", "WARN"),
    ],
)
def test_counts_the_flags_of_the_processor(cpuinfo: str, verdict: str) -> None:
    assert checks.processor(cpuinfo).verdict == verdict


@pytest.mark.parametrize(
    ("manager", "words"),
    [
        ("apt-get", "sudo apt install qemu-utils"),
        ("dnf", "sudo dnf install qemu-img"),
        ("yum", "sudo yum install qemu-img"),
        ("", "install qemu-utils (so it is called on Debian) by this system's package manager"),
    ],
)
def test_speaks_the_words_of_the_package_manager(manager: str, words: str) -> None:
    assert installation("qemu-img", lambda tool: tool if tool == manager else None) == words


def test_a_missing_program_fails_with_its_package() -> None:
    found = checks.program("qemu-img", "qemu-img", "--no-such-option")

    assert (found.verdict, bool(found.found), bool(found.fix)) == ("FAIL", True, True)


def test_warns_of_a_route_that_guests_would_hide() -> None:
    assert checks.routes(ROUTES).verdict == "PASS"
    assert "10.0.0.0/8 by vpn0" in checks.routes(ROUTES + INSIDE).found


def test_block_volumes_need_root() -> None:
    assert checks.loop_devices(root=False).verdict == "WARN"


def test_an_ordinary_user_is_told_what_that_costs() -> None:
    found = [checks.limits(UNLIMITED), checks.users(root=False)]

    assert [each.verdict for each in found] == ["WARN", "WARN"]
    assert "for each process alone" in found[0].found
    assert "fsGroup does nothing" in found[1].found
