"""A network namespace to try networks in, so that the machine itself stays as it is: with a world beyond it."""

import contextlib
import ctypes
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

WORLD = "198.51.100.1"
"""Where the world answers on port 80 with `the world`."""
PAGE = "the world\n"
_NEWNET = 0x40000000
_numbers = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)


def run(*command: str, given: str = "") -> str:
    """What a command says."""
    return subprocess.run(command, input=given, check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def inside(path: Path) -> Iterator[None]:
    """This thread, and what it starts, are in that namespace."""
    before, there = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(path, os.O_RDONLY)
    try:
        assert _libc.setns(there, _NEWNET) == 0, os.strerror(ctypes.get_errno())
        yield
    finally:
        assert _libc.setns(before, _NEWNET) == 0, os.strerror(ctypes.get_errno())
        os.close(before)
        os.close(there)


@contextlib.contextmanager
def outer(directory: Path) -> Iterator[Path]:
    """A machine's network of its own for this thread, with a way out to a world that knows only its address.

    The world's namespace.
    """
    if os.geteuid() != 0:
        pytest.skip("networks need root")
    number = f"{os.getpid()}-{next(_numbers)}"
    name, world = f"t-{number}", f"w-{number}"
    for each in (name, world):
        run("ip", "netns", "add", each)
    try:
        run("ip", "-n", world, "-batch", "-", given="link set lo up\n")
        run("ip", "-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", world)
        run("ip", "-n", world, "-batch", "-", given=f"address add {WORLD}/24 dev eth0\nlink set eth0 up\n")
        run(
            "ip", "-n", name, "-batch", "-",
            given="link set lo up\naddress add 198.51.100.2/24 dev eth0\nlink set eth0 up\n"
            f"route add default via {WORLD}\n",
        )  # fmt: skip
        page = directory / "world"
        page.mkdir()
        (page / "index.html").write_text(PAGE)
        with inside(Path("/run/netns", world)):
            server = subprocess.Popen(
                [sys.executable, "-m", "http.server", "80", "--directory", str(page)],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        try:
            with inside(Path("/run/netns", name)):
                yield Path("/run/netns", world)
        finally:
            server.kill()
            server.wait()
    finally:
        for each in (name, world):
            run("ip", "netns", "delete", each)


def guarded() -> None:
    """Have here what docker and libvirt leave behind: their bridges, and a FORWARD chain that drops."""
    for bridge, address in (("docker0", "172.17.0.1/16"), ("virbr0", "192.168.122.1/24")):
        run("ip", "link", "add", bridge, "type", "bridge")
        run("ip", "address", "add", address, "dev", bridge)
        run("ip", "link", "set", bridge, "up")
    run("nft", "-f", "-", given="table ip filter {\n chain FORWARD {\n"
        "type filter hook forward priority 0; policy drop;\n }\n}\n")  # fmt: skip
