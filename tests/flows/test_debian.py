"""A real Debian with the real cloud-init does what its user data says. `make test-debian`; minutes without KVM."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from diskyard.api.meta import CLAIM, INSTANCE
from tests import builders, debian
from tests.builders import eventually
from tests.vm_runtime.line import Line, line
from vm_runtime.agent.host import acceleration

pytestmark = [pytest.mark.debian, pytest.mark.timeout(1500)]

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJq5 someone@example.test"
USER_DATA = f"""#cloud-config
users:
  - name: alice
    gecos: Alice of the test
    ssh_authorized_keys: ["{KEY}"]
write_files:
  - path: /etc/motd.test
    content: written by cloud-init
runcmd:
  - >-
    echo "TOLD name $(hostname) | $(getent passwd alice) | $(cat ~alice/.ssh/authorized_keys)
    | $(cat /etc/motd.test) |" > /dev/ttyS0
"""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Line]:
    with line(tmp_path, acceleration()) as found:
        yield found


def test_cloud_init_makes_the_user_the_key_the_file_and_the_name(started: Line) -> None:
    for name, disk, size in (("boot", debian.boot_disk(), "1Gi"), ("disk", debian.system_disk(), "2Gi")):
        started.objects.create(CLAIM, builders.claim(name, size))
        bound = eventually(lambda name=name: started.found(CLAIM, name, "Bound"))
        to = started.volumes / str(bound["spec"]["volumeName"]) / "disk.img"
        if disk.suffix == ".qcow2":
            subprocess.run(["qemu-img", "convert", "-O", "raw", disk, to], check=True)
        else:
            shutil.copyfile(disk, to)
        to.chmod(0o666)
    volumes = [
        {"name": "boot", "persistentVolumeClaim": {"claimName": "boot"}},
        {"name": "root", "persistentVolumeClaim": {"claimName": "disk"}},
        {"name": "seed", "cloudInitNoCloud": {"userData": USER_DATA}},
    ]
    obj = builders.instance("vm", volumes=volumes, hostname="tourist", terminationGracePeriodSeconds=0)
    obj["spec"]["domain"] = {
        "devices": {
            "autoattachPodInterface": False,
            "disks": [{"name": each["name"], "disk": {"bus": "virtio"}} for each in volumes],
        },
        "resources": {"requests": {"memory": "512Mi"}},
    }

    started.objects.create(INSTANCE, obj)

    def told() -> str:
        said = started.console(started.found(INSTANCE, "vm", "Running"))
        assert "TOLD name" in said, said[-3000:]
        return said.partition("TOLD name")[2]

    words = [each.strip() for each in eventually(told, 1200).split("|")]
    assert words[0] == "tourist"
    assert words[1].startswith("alice:")
    assert "Alice of the test" in words[1]
    assert words[2] == KEY
    assert words[3] == "written by cloud-init"
