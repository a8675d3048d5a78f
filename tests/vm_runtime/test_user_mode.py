"""A guest where no network can be made for it: it reaches out through its host, and says that nothing reaches in."""

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from diskyard.api import meta
from diskyard.api.meta import CLAIM, INSTANCE
from diskyard.errors import BadRequest
from standalone.wire import ports
from tests import builders
from tests.builders import eventually
from tests.vm_runtime.line import Line, line
from vm_runtime.agent.host import Acceleration

pytestmark = [
    pytest.mark.guest,
    pytest.mark.skipif(
        not shutil.which("libvirtd") or not shutil.which("bwrap"), reason="needs libvirt and bubblewrap"
    ),
]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Line]:
    with line(tmp_path, Acceleration(kvm=False, reason="this test's host has none")) as found:
        yield found


@pytest.fixture
def host() -> Iterator[int]:
    """The port of this machine's loopback where it says that it is the host."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=answer, args=(listening,), daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def answer(listening: socket.socket) -> None:
    try:
        while True:
            with listening.accept()[0] as came:
                came.sendall(b"I am the host\n")
    except OSError:
        return


def test_it_reaches_out_through_its_host_and_says_why_nothing_reaches_in(
    started: Line, networked_image: Path, host: int
) -> None:
    started.objects.create(CLAIM, builders.claim("disk", "1Gi"))
    bound = eventually(lambda: started.found(CLAIM, "disk", "Bound"))
    to = started.volumes / bound["spec"]["volumeName"] / "disk.img"
    subprocess.run(["qemu-img", "convert", "-O", "raw", networked_image, to], check=True)
    to.chmod(0o666)
    started.objects.create(INSTANCE, builders.instance("vm", terminationGracePeriodSeconds=0))

    running = started.speaks("vm", "network: ")
    assert " 10.0.2.15/24 " in started.console(running)
    with closing(started.doors.stream(meta.uid(started.pod(running)), "console")) as console:
        console.sendall(f"nc -w 60 10.0.2.2 {host} </dev/null\n".encode())
        started.speaks("vm", "I am the host")

    said = meta.condition(running, "UserModeNetworking") or {}
    assert said["message"].endswith("nothing reaches in: this node makes no networks")
    with pytest.raises(BadRequest, match="can be reached: the guest reaches out through its host"):
        ports.check_addressed(running)
