"""What runs in a sandbox reaches its own claim, and nothing else of this machine."""

import ctypes
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from diskyard.api import meta
from diskyard.api.meta import CLAIM, Key
from tests import builders
from tests.builders import eventually
from tests.standalone.node.yard import Yard, command, opened

MARK = "bystander-of-the-host-4410"
ROOT = os.geteuid() == 0
LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Attack:
    """What the intruder reached, and who stood by."""

    reached: dict[str, str]
    bystander: "subprocess.Popen[bytes]"
    environment: dict[str, str]


def handle_of(path: Path) -> bytes:
    """A file's handle, as name_to_handle_at(2) gives it to the host."""
    buffer = ctypes.create_string_buffer((128).to_bytes(4, "little") + bytes(132), 136)
    mount = ctypes.c_int()
    assert LIBC.name_to_handle_at(-100, str(path).encode(), buffer, ctypes.byref(mount), 0) == 0
    return buffer.raw


def opens_by_handle(handle: bytes, anchor: Path) -> bool:
    mount = os.open(anchor, os.O_RDONLY)
    file = LIBC.open_by_handle_at(mount, ctypes.create_string_buffer(handle, len(handle)), os.O_RDONLY)
    os.close(mount)
    if file >= 0:
        os.close(file)
    return bool(file >= 0)


def volume_of(yard: Yard, name: str) -> Path:
    yard.store.create(CLAIM, builders.claim(name))
    eventually(lambda: meta.phase(yard.store.get(CLAIM, Key(name, "default"))) == "Bound")
    return yard.path / "volumes" / meta.spec(yard.store.get(CLAIM, Key(name, "default")))["volumeName"]


@pytest.fixture(scope="module")
def attack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attack]:
    path = tmp_path_factory.mktemp("yard")
    secret = path / "pki" / "token"
    secret.parent.mkdir()
    secret.write_text("the token")
    (path / "kubeconfig").write_text("the kubeconfig")
    # The same user id as in the sandbox: only the walls are left to keep them apart.
    user = 107 if ROOT else None
    sleeper = ["/bin/sh", "-c", f"read line; : {MARK}"]
    with (
        opened(path) as yard,
        subprocess.Popen(sleeper, stdin=subprocess.PIPE, user=user, group=user) as bystander,
    ):
        try:
            yield _attack(yard, bystander)
        finally:
            bystander.kill()


def _attack(yard: Yard, bystander: "subprocess.Popen[bytes]") -> Attack:
    other = volume_of(yard, "other") / "disk.img"
    other.write_text("another's bytes")
    other.chmod(0o666)
    own = volume_of(yard, "own")
    handle = handle_of(other)
    assert not ROOT or opens_by_handle(handle, own), "the handle must be one that works"
    device = yard.path.stat().st_dev
    wanted = {
        "paths": [
            "/etc/shadow",
            *map(str, (other, yard.path / "kubeconfig", yard.path / "pki/token", yard.store_path)),
        ],
        "handle": handle.hex(),
        "devices": [f"{os.major(device)}:{os.minor(device)}"],
        "pids": [bystander.pid, os.getpid()],
        "marks": [MARK[::-1]],
    }
    source = Path(__file__).with_name("intruder.py").read_text()
    mount = {"volumeMounts": [{"name": "d", "mountPath": "/data"}]}
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "own"}}]
    yard.run(command("bad", "python", "-c", source, json.dumps(wanted), container=mount, volumes=volumes))
    eventually(lambda: meta.phase(yard.pod("bad")) in ("Succeeded", "Failed"), 120)
    assert meta.phase(yard.pod("bad")) == "Succeeded", yard.log("bad")
    yard.run(command("env", "env"))
    yard.until("env", "Succeeded")
    environment = dict(line.split("=", 1) for line in yard.log("env").splitlines())
    return Attack(json.loads(yard.log("bad").splitlines()[-1]), bystander, environment)


WAYS = (
    "read files of the host",
    "open another claim by its handle",
    "open another claim by its handle, as root of a user namespace",
    "mount a device of the host",
    "mount a device, as root of a user namespace",
    "mount anything",
    "remount /usr writable",
    "remount /usr writable, as root of a user namespace",
    "make a device node",
    "trace a process of the host",
    "signal a process of the host",
    "see a process of the host",
    "gain rights",
)


@pytest.mark.parametrize("way", WAYS)
def test_a_worker_cannot(attack: Attack, way: str) -> None:
    assert attack.reached[way] == ""


def test_every_way_was_tried(attack: Attack) -> None:
    assert set(attack.reached) == set(WAYS)


def test_a_process_of_the_host_with_the_same_user_id_lives_on(attack: Attack) -> None:
    assert attack.bystander.poll() is None


def test_nothing_of_the_yards_environment_leaks_in(attack: Attack) -> None:
    ours = {"PATH", "HOME", "LANG", "HOSTNAME", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}
    assert set(attack.environment) == ours
