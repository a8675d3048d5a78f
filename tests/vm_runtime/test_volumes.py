"""Every kind of volume in a real guest: what it reads of them, and what is left of what it writes.

The guest (busybox) mounts each disc and prints its files. On each other disk it finds a count, prints it and
counts on; when the disk is new to it, it reboots once.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo import image
from diskyard.api.meta import CLAIM, CONFIG_MAP, INSTANCE, KUBEVIRT, SECRET, Key, Obj
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
HOST_DISK = {"spec": {"configuration": {"developerConfiguration": {"featureGates": ["HostDisk"]}}}}
TOUR = r"""
mkdir /mnt; again=""
for block in /sys/block/vd*; do
  name=${block##*/}; serial=$(cat "$block/serial"); device=/dev/$name
  [ "$serial" = root ] && continue
  if mount -t iso9660 -o ro "$device" /mnt 2>/dev/null; then
    (cd /mnt && find . -type f | sort | while read -r file; do
      echo "TOUR $serial ${file#./}: $(head -c 300 "$file" | tr '\n' '|')"; done)
    umount /mnt
  else
    count=$(head -c 8 "$device" | tr -cd 0-9); count=$((1${count:-0000000} - 10000000))
    echo "TOUR $serial count $count"
    printf 'n%07d' $((count + 1)) | dd of="$device" conv=notrunc,fsync 2>/dev/null
    [ "$serial" = empty ] && [ "$count" = 0 ] && again=yes
  fi
done
[ -n "$again" ] && reboot -f
echo "TOUR ends"
"""


@pytest.fixture(scope="module")
def touring() -> Path:
    """The guest's image."""
    return image.build(image.CACHE, init_extra=TOUR)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Line]:
    with line(tmp_path, Acceleration(kvm=False, reason="this test's host has none")) as found:
        yield found


def test_a_guest_finds_every_kind_of_volume_and_what_it_wrote_lasts_as_each_kind_does(
    started: Line, touring: Path
) -> None:
    put(started, touring)
    started.objects.patch(KUBEVIRT, Key("kubevirt", "kubevirt"), HOST_DISK)
    started.objects.create(SECRET, builders.secret("keys", alice="ssh-ed25519 AAAA"))
    started.objects.create(SECRET, builders.secret("words", password="x y"))
    started.objects.create(CONFIG_MAP, builders.config_map("settings", color="blue"))
    started.objects.create(CONFIG_MAP, builders.config_map("answers", **{"unattend.xml": "<a/>"}))

    start(started)

    first = said(started)
    assert first["seed"]["user-data"] == "#cloud-config|users: []|"
    assert "ssh-ed25519 AAAA" in first["seed"]["meta-data"]
    assert '"local-hostname": "tourist"' in first["seed"]["meta-data"]
    assert first["drive"]["openstack/latest/user_data"] == "as it is"
    assert first["words"] == {"password": "x y"}
    assert first["settings"] == {"color": "blue"}
    assert first["about"] == {"name": "vm", "kind": "guest"}
    assert first["answers"] == {"unattend.xml": "<a/>"}
    assert first["counts"] == {
        "empty": ["0", "1"],
        "fleeting": ["0", "1"],
        "hosted": ["0", "1"],
        "lasting": ["0", "1"],
    }
    assert (folder(started, "base") / "disk.img").read_bytes() == bytes(1 << 20)

    started.objects.delete(INSTANCE, Key("vm", "default"))
    eventually(lambda: started.gone(INSTANCE, "vm"))
    started.objects.patch(CONFIG_MAP, Key("settings", "default"), {"data": {"color": "red"}})
    start(started)

    second = said(started)
    assert second["counts"] == {
        "empty": ["0", "1"],
        "fleeting": ["0", "1"],
        "hosted": ["2", "3"],
        "lasting": ["2", "3"],
    }
    assert second["settings"] == {"color": "red"}


def put(started: Line, touring: Path) -> None:
    """The claims: the guest's root, one that lasts, one that is only read."""
    for name in ("root", "base", "kept"):
        started.objects.create(CLAIM, builders.claim(name, "1Gi" if name == "root" else "8Mi"))
    for name in ("root", "base"):
        disk = folder(started, name) / "disk.img"
        if name == "root":
            subprocess.run(["qemu-img", "convert", "-O", "raw", touring, disk], check=True)
        else:
            disk.write_bytes(bytes(1 << 20))
        disk.chmod(0o666)


def folder(started: Line, claim: str) -> Path:
    """Where a claim's volume lies."""
    bound = eventually(lambda: started.found(CLAIM, claim, "Bound"))
    return started.volumes / str(bound["spec"]["volumeName"])


def start(started: Line) -> None:
    """The guest with a volume of each kind."""
    volumes = [
        {"name": "root", "persistentVolumeClaim": {"claimName": "root"}},
        {"name": "lasting", "persistentVolumeClaim": {"claimName": "kept"}},
        {"name": "hosted", "hostDisk": {
            "path": str(started.host / "vms/disk.img"), "type": "DiskOrCreate", "capacity": "4Mi",
        }},
        {"name": "empty", "emptyDisk": {"capacity": "4Mi"}},
        {"name": "fleeting", "ephemeral": {"persistentVolumeClaim": {"claimName": "base"}}},
        {"name": "seed", "cloudInitNoCloud": {"userData": "#cloud-config\nusers: []\n"}},
        {"name": "drive", "cloudInitConfigDrive": {"userDataBase64": "YXMgaXQgaXM="}},
        {"name": "words", "secret": {"secretName": "words"}},
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "answers", "sysprep": {"configMap": {"name": "answers"}}},
        {"name": "about", "downwardAPI": {"fields": [
            {"path": "name", "fieldRef": {"fieldPath": "metadata.annotations['kubevirt.io/domain']"}},
            {"path": "kind", "fieldRef": {"fieldPath": "metadata.labels['role']"}},
        ]}},
    ]  # fmt: skip
    key = {"source": {"secret": {"secretName": "keys"}}, "propagationMethod": {"noCloud": {}}}
    obj = builders.instance(
        "vm", volumes=volumes, hostname="tourist", accessCredentials=[{"sshPublicKey": key}],
        terminationGracePeriodSeconds=10,
    )  # fmt: skip
    obj["metadata"]["labels"] = {"role": "guest"}
    disks = [
        {"name": each["name"], "serial": each["name"], "disk": {"bus": "virtio"}} | _first(each)
        for each in volumes
    ]
    obj["spec"]["domain"] = {"resources": {"requests": {"memory": "128Mi"}}, "devices": {"disks": disks}}
    started.objects.create(INSTANCE, obj)


def _first(volume: Obj) -> Obj:
    return {"bootOrder": 1} if volume["name"] == "root" else {}


def said(started: Line) -> dict[str, dict[str, object]]:
    """What the guest has printed once its tour ends: files by disc, counts by disk."""
    lines = [
        each[5:]
        for each in started.console(started.speaks("vm", "TOUR ends")).splitlines()
        if "TOUR " in each
    ]
    found: dict[str, dict[str, object]] = {"counts": {}}
    for each in lines:
        disc, _, rest = each.partition(" ")
        name, _, content = rest.partition(": ")
        if rest.startswith("count "):
            counts = found["counts"].setdefault(disc, [])
            assert isinstance(counts, list)
            counts.append(rest.split()[1])
        else:
            found.setdefault(disc, {})[name] = content.rstrip()
    return found
