"""The small bootable disk that every test of guests uses: made once, kept in the user's cache."""

from contextlib import suppress
from pathlib import Path

import pytest

from demo import image
from demo.agent import agent
from tests.builders import eventually

GREETING = b"Hello from a guest of Diskyard."
"""The guest's first words on its serial console."""
NETWORKED = """
cat > /dhcp.sh <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip link set "$interface" mtu "$mtu"
ip address add "$ip/$mask" dev "$interface"
ip route add default via "$router"
hostname "$hostname"
END
chmod 755 /dhcp.sh
mkdir -p /www
ip link set lo up
ip link set eth0 up
(
  until udhcpc -i eth0 -n -q -O mtu -s /dhcp.sh > /dev/null 2>&1; do sleep 1; done
  place="$(ip -4 -o address show dev eth0 | tr -s ' ' | cut -d' ' -f4)"
  echo "$(hostname) $place $(cat /sys/class/net/eth0/mtu)" > /www/index.html
  httpd -p 80 -h /www
  httpd -p 8080 -h /www
  port=$(grep -lx org.qemu.guest_agent.0 /sys/class/virtio-ports/*/name | cut -d/ -f5)
  qemu-ga -d -m virtio-serial -p "/dev/$port" -f /tmp/qemu-ga.pid -t /tmp > /dev/null 2>&1
  echo "network: $(cat /www/index.html)"
) &
"""
"""Has the guest ask for its address, and say on ports 80 and 8080 what it is called and which one it got."""


@pytest.fixture(scope="session")
def guest_image() -> Path:
    """A compressed qcow2 of 1 GiB that boots in seconds, also under software emulation."""
    return image.build(image.CACHE)


@pytest.fixture(scope="session")
def networked_image() -> Path:
    """The same, on a network and with qemu's agent."""
    return image.build(image.CACHE, init_extra=NETWORKED, files=agent(image.CACHE))


def processes(pod: str) -> dict[int, str]:
    """Command lines of all that belongs to the pod of that uid, which stands in them or in their mounts."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                mounts = (entry / "mountinfo").read_text(errors="replace")
                command = _command(int(entry.name))
            except OSError:
                continue
            if pod in mounts or pod in command:
                found[int(entry.name)] = command
    return found


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")


def program(family: dict[int, str], name: str) -> int:
    """Which of them runs the program whose name begins so. What starts it has its name in its command line, too."""
    found = [
        pid
        for pid, command in family.items()
        if any(Path(word).name.startswith(name) for word in command.split()[:4])
    ]
    if len(found) > 1:  # one that was about to run another program had the command line of who started it
        found = eventually(lambda: lasting if len(lasting := _lasting(family, found)) == 1 else [])
    assert len(found) == 1, (name, found, family)
    return found[0]


def _lasting(family: dict[int, str], pids: list[int]) -> list[int]:
    """Which of them are what they were."""
    lasting = []
    for pid in pids:
        with suppress(OSError):
            if _command(pid) == family[pid]:
                lasting.append(pid)
    return lasting


def alive(pid: int) -> bool:
    """Whether the process is there, and not merely waiting to be buried."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
