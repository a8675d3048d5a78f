"""The demo's image is a real disk: it boots by its own boot loader and is itself down to the byte."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo import image
from tests.guest import GREETING

pytestmark = pytest.mark.guest


@contextmanager
def booted(disk: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        "qemu-system-x86_64",
        "-accel",
        "tcg",
        "-m",
        "256",
        "-nodefaults",
        "-display",
        "none",
        "-snapshot",
    ]
    command += ["-drive", f"file={disk},format=qcow2,if=virtio", "-serial", "stdio", *more]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as machine:
        try:
            yield machine
        finally:
            machine.kill()


def type_(machine: subprocess.Popen[bytes], keys: bytes) -> None:
    assert machine.stdin is not None
    machine.stdin.write(keys)
    machine.stdin.flush()


def words(machine: subprocess.Popen[bytes], last: bytes) -> bytes:
    heard = b""
    assert machine.stdout is not None
    while last not in heard:
        line = machine.stdout.readline()
        assert line, f"the guest ended before it said {last!r}: {heard!r}"
        heard += line
    return heard


@pytest.mark.timeout(60)
def test_boots_and_says_the_sum_of_its_own_disk(guest_image: Path) -> None:
    with booted(guest_image) as machine:
        heard = words(machine, b"'poweroff' ends it.")

    assert GREETING in heard
    assert image.expected_sum(guest_image).encode() in heard


@pytest.mark.timeout(60)
def test_ends_when_its_user_types_poweroff(guest_image: Path) -> None:
    with booted(guest_image) as machine:
        words(machine, b"'poweroff' ends it.")
        type_(machine, b"poweroff\n")

        assert machine.wait() == 0


@pytest.mark.timeout(60)
def test_ends_when_its_power_button_is_pressed(guest_image: Path, tmp_path: Path) -> None:
    monitor = tmp_path / "monitor"
    with booted(guest_image, "-monitor", f"unix:{monitor},server=on,wait=off") as machine:
        words(machine, b"'poweroff' ends it.")
        with socket.socket(socket.AF_UNIX) as button:
            button.connect(str(monitor))
            button.sendall(b"system_powerdown\n")

            assert b"Power button pressed" in words(machine, b"good night.")
            assert machine.wait() == 0


def test_is_made_once(guest_image: Path) -> None:
    before = guest_image.stat()

    again = image.build(image.CACHE)

    assert again == guest_image
    assert again.stat().st_ino == before.st_ino
