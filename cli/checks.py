"""What `diskyard doctor` looks at: each check is a function that gives one finding."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final, Literal

from cli import cgroups
from cli.packages import installation
from diskyard.api.names import kubevirt
from diskyard.api.quantity import GIB, human
from diskyard.errors import Refused
from standalone.node.memory import Memory, memory
from standalone.node.network import network
from vm_runtime.agent import host
from vm_runtime.launcher.firmware import BUILDS
from vm_runtime.network import routes as route_table

Verdict = Literal["PASS", "WARN", "FAIL"]

EMULATION: Final = "for speed only (`diskyard up` sets useEmulation where KVM does not work): "
ENOUGH: Final = 10 * GIB
TOO_LITTLE: Final = 1 * GIB


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    verdict: Verdict
    found: str = ""
    fix: str = ""
    """What the user can do; empty where nothing needs doing."""


def findings(data_dir: Path) -> Iterator[Finding]:
    """All findings, one after the other."""
    yield processor(Path("/proc/cpuinfo").read_text())
    yield from kvm()
    yield device("vhost-net", Path("/dev/vhost-net"), "guests' networks are slower", "modprobe vhost_net")
    yield device(
        "net/tun", Path("/dev/net/tun"), "guests reach out through user networking only", "modprobe tun"
    )
    yield from (group(name, missing=gone) for name, gone in cgroups.missing())
    yield program("qemu", "qemu-system-x86_64", "--version")
    yield program("qemu-img", "qemu-img", "--version")
    yield program("libvirt's daemon", "libvirtd", "--version")
    yield firmware()
    yield tpm()
    yield bubblewrap()
    yield networks()
    yield loop_devices(root=os.geteuid() == 0)
    yield limits(memory())
    yield users(root=os.geteuid() == 0)
    yield room(data_dir)
    yield routes(route_table.TABLE.read_text())


def processor(cpuinfo: str) -> Finding:
    """Whether the processor says that it can virtualize: what `grep -Eoc '(vmx|svm)' /proc/cpuinfo` counts."""
    check = "Checking for hardware virtualization"
    count = sum(1 for line in cpuinfo.splitlines() if re.search("vmx|svm", line))
    if count:
        return Finding(check, "PASS", f"vmx or svm on {count} lines of /proc/cpuinfo")
    advice = "switch on VT-x or AMD-V in the firmware, or nested virtualization in the host of this machine"
    return Finding(
        check, "WARN", "neither vmx nor svm in /proc/cpuinfo: software emulation", EMULATION + advice
    )


def kvm() -> Iterator[Finding]:
    """Whether /dev/kvm is there, can be opened, and really runs a machine."""
    exists, accessible = host.DEVICE.exists(), os.access(host.DEVICE, os.R_OK | os.W_OK)
    yield Finding(
        f"Checking if device {host.DEVICE} exists",
        *_verdict(exists, EMULATION + "modprobe kvm_intel or kvm_amd"),
    )
    opening = EMULATION + "sudo usermod -aG kvm $USER, then log in again"
    yield Finding(f"Checking if device {host.DEVICE} is accessible", *_verdict(accessible, opening))
    probe = host.acceleration()
    fix = EMULATION + "run on hardware, or on a host with nested virtualization"
    if exists and not accessible:
        fix = opening
    yield Finding(
        "Checking if KVM runs a machine",
        "PASS" if probe.kvm else "WARN",
        probe.reason,
        "" if probe.kvm else fix,
    )


def device(name: str, path: Path, without: str, fix: str) -> Finding:
    """Whether a device node exists; guests do without it."""
    check = f"Checking if device /dev/{name} exists"
    return Finding(check, "PASS") if path.exists() else Finding(check, "WARN", without, f"sudo {fix}")


def group(name: str, *, missing: bool) -> Finding:
    """Whether a controller of control groups is there; only that of memory is used."""
    check = f"Checking for cgroup '{name}' controller support"
    if not missing:
        return Finding(check, "PASS")
    without = (
        "pods' memory limits hold for each process alone" if name == "memory" else "not used by Diskyard"
    )
    enabling = f"cgroup_enable={name} on the kernel's command line, or mount it below {cgroups.ROOT}"
    return Finding(check, "WARN", without, enabling)


def program(name: str, *command: str) -> Finding:
    """Whether a program is installed and starts."""
    check = f"Checking for {name}"
    try:
        said = _run(*command)
    except FileNotFoundError:
        return Finding(check, "FAIL", f"{command[0]} is not installed", installation(command[0]))
    if said.returncode:
        return Finding(check, "FAIL", _last(said.stderr), installation(command[0]))
    return Finding(check, "PASS", said.stdout.splitlines()[0] if said.stdout else "")


def firmware() -> Finding:
    """Whether guests can boot by UEFI."""
    check = "Checking for UEFI firmware"
    found = next((code for code, _ in (*BUILDS[False], *BUILDS[True]) if Path(code).is_file()), "")
    if found:
        return Finding(check, "PASS", found)
    return Finding(check, "WARN", "guests boot by BIOS only", installation("ovmf"))


def tpm() -> Finding:
    """Whether guests can have a TPM."""
    check = "Checking for swtpm"
    if all(shutil.which(name) for name in ("swtpm", "swtpm_setup")):
        return Finding(check, "PASS")
    return Finding(check, "WARN", "no guest can have a TPM", installation("swtpm"))


def networks() -> Finding:
    """Whether guests get networks of their own, as this user."""
    check = "Checking that guests get networks of their own"
    try:
        network.check_means()
    except Refused as error:
        found = f"{error}: guests reach out through this machine, and nothing reaches in"
        return Finding(
            check, "WARN", found, "run `sudo diskyard up`, where iproute2 and nftables are installed"
        )
    return Finding(check, "PASS")


def bubblewrap() -> Finding:
    """Whether bubblewrap can make a sandbox here, as this user."""
    check = "Checking if bubblewrap makes a sandbox"
    command = [
        "bwrap",
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-uts",
        "--ro-bind",
        "/",
        "/",
        "--proc",
        "/proc",
    ]
    ordinary = () if os.geteuid() == 0 else ("--unshare-user", "--uid", str(kubevirt.QEMU_UID))
    try:
        said = _run(*command, *ordinary, "--", "true")
    except FileNotFoundError:
        return Finding(check, "FAIL", "bwrap is not installed", installation("bwrap"))
    if said.returncode == 0:
        how = "as root" if os.geteuid() == 0 else "in a user namespace"
        return Finding(check, "PASS", how)
    return Finding(check, "FAIL", _last(said.stderr), _namespaces())


def loop_devices(*, root: bool) -> Finding:
    """Whether volumes can be block devices."""
    check = "Checking for loop devices"
    without = "claims with volumeMode Block do not work"
    if not root:
        return Finding(
            check, "WARN", f"they need root: {without}", "run `sudo diskyard up`, if you need such claims"
        )
    try:
        said = _run("losetup", "--find")
    except FileNotFoundError:
        return Finding(check, "WARN", f"losetup is not installed: {without}", installation("losetup"))
    if said.returncode == 0:
        return Finding(check, "PASS", f"{said.stdout.strip()} is free")
    return Finding(check, "WARN", f"{_last(said.stderr)}: {without}", "sudo modprobe loop")


def limits(found: Memory) -> Finding:
    """Whether a pod's memory limit holds for the whole of it."""
    check = "Checking that memory limits hold"
    if found.folder is not None:
        return Finding(check, "PASS", found.how)
    return Finding(check, "WARN", str(found), "run `sudo diskyard up`, if pods' limits matter to you")


def users(*, root: bool) -> Finding:
    """Whether containers can be users of their own."""
    check = "Checking that containers run as users of their own"
    if root:
        return Finding(check, "PASS")
    without = (
        "every container is you: fsGroup does nothing, and no port below 1024 can be served (443 for uploads)"
    )
    return Finding(check, "WARN", without, "run `sudo diskyard up`, if you need these")


def room(data_dir: Path) -> Finding:
    """Whether disks have room in the data directory, or where it will be."""
    there = next(path for path in (data_dir, *data_dir.parents) if path.exists())
    free = shutil.disk_usage(there).free
    verdict: Verdict = "FAIL" if free < TOO_LITTLE else "WARN" if free < ENOUGH else "PASS"
    fix = "free some, or name another place: diskyard up --data-dir DIR" if verdict != "PASS" else ""
    return Finding("Checking room for disks", verdict, f"{human(free)} free for {data_dir}", fix)


def routes(table: str) -> Finding:
    """Whether the guests' own network hides one of the host's; `table` is what /proc/net/route says."""
    check = f"Checking that {kubevirt.VM_NETWORK} is free for guests"
    guests = IPv4Network(kubevirt.VM_NETWORK)
    hidden = route_table.overlapped(guests, route_table.routes(table))
    if hidden is None:
        return Finding(check, "PASS")
    found = f"the host reaches {hidden.network} by {hidden.device}: guests cannot reach those of {guests}"
    return Finding(
        check, "WARN", found, "nothing, unless your guests need a machine there: then vmNetworkCIDR"
    )


def _verdict(good: bool, fix: str) -> tuple[Verdict, str, str]:
    return ("PASS", "", "") if good else ("WARN", "software emulation", fix)


def _namespaces() -> str:
    for setting, value in (
        ("kernel.apparmor_restrict_unprivileged_userns", 0),
        ("kernel.unprivileged_userns_clone", 1),
        ("user.max_user_namespaces", 15000),
    ):
        path = Path("/proc/sys", *setting.split("."))
        allowed = path.exists() and (int(path.read_text()) == 0 if value == 0 else int(path.read_text()) > 0)
        if path.exists() and not allowed:
            return f"sudo sysctl -w {setting}={value}, or run as root"
    return "run as root; inside a container, run it with --privileged"


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=30, stdin=subprocess.DEVNULL,
        env={**os.environ, "PATH": path, "LC_ALL": "C"},
    )  # fmt: skip


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it failed without a word"
