"""Every kind of volume in a real guest: what it reads of them, and what is left of what it writes.

The guest (busybox) mounts each disc and prints its files. On each other disk it finds a count, prints it and
counts on.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from demo import image
from diskyard.api import meta
from diskyard.api.meta import (
    CDI_CONFIG,
    CLAIM,
    CONFIG_MAP,
    INSTANCE,
    KUBEVIRT,
    MACHINE,
    SECRET,
    SERVICE_ACCOUNT,
    VOLUME,
    Key,
    Kind,
    Obj,
)
from diskyard.api.names import cdi
from standalone.access.account import ISSUER, Accounts
from tests import builders
from tests.builders import eventually
from tests.disk.tars import entry, tar
from tests.importer.publisher import Publisher
from tests.importer.registries import registry
from tests.vm_runtime.line import Line, line
from vm_runtime.agent.host import Acceleration

pytestmark = [
    pytest.mark.guest,
    pytest.mark.skipif(
        not shutil.which("libvirtd") or not shutil.which("bwrap"), reason="needs libvirt and bubblewrap"
    ),
]
HOST_DISK = {"spec": {"configuration": {"developerConfiguration": {"featureGates": ["HostDisk"]}}}}
RAW = ("raw",) if os.geteuid() == 0 else ()
"""A block device: the yard makes some where it is root."""
KEPT = ("filled", "hosted", "lasting", *RAW)
LOST = ("empty", "fleeting", "packed")
"""Disks by what becomes of them when the machine stops."""
MADE = ("words", "settings", "account")
"""Discs of what may change meanwhile."""
SIGNER = ec.generate_private_key(ec.SECP256R1())
TOUR = r"""
mkdir /mnt
for block in /sys/block/vd*; do
  name=${block##*/}; serial=$(cat "$block/serial"); device=/dev/$name
  [ "$serial" = root ] && continue
  if mount -t iso9660 -o ro "$device" /mnt 2>/dev/null; then
    (cd /mnt && find . -type f | sort | while read -r file; do
      echo "TOUR $serial ${file#./}: $(head -c 2000 "$file" | tr '\n' '|')"; done)
    umount /mnt
  else
    count=$(head -c 8 "$device" | tr -cd 0-9); count=$((1${count:-0000000} - 10000000))
    echo "TOUR $serial count $count"
    printf 'n%07d' $((count + 1)) | dd of="$device" conv=notrunc,fsync 2>/dev/null
  fi
done
echo "TOUR ends"
"""


@pytest.fixture(scope="module")
def touring() -> Path:
    """The guest's image."""
    return image.build(image.CACHE, init_extra=TOUR)


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Publisher]:
    with registry(tmp_path / "registry", tmp_path / "store") as found:
        yield Publisher(found, tmp_path / "layout", "guest")


@pytest.fixture
def started(tmp_path: Path, images: Publisher) -> Iterator[Line]:
    with line(tmp_path, Acceleration(kvm=False, reason="this test's host has none")) as found:
        change = {"spec": {"insecureRegistries": [images.registry.host]}}
        found.objects.patch(CDI_CONFIG, Key(cdi.CONFIG_NAME), change)
        found.objects.answer("token", accounts(found).issue)
        yield found
        rid_of(found, MACHINE, "vm")
        for name in RAW:  # else its device stays behind
            rid_of(found, CLAIM, name)
        eventually(lambda: not [each for each in found.objects.list(VOLUME).items if of(each) in RAW])


def rid_of(started: Line, kind: Kind, name: str) -> None:
    if not started.gone(kind, name):
        started.objects.delete(kind, Key(name, "default"))
        eventually(lambda: started.gone(kind, name))


def of(volume: Obj) -> str:
    """The claim that a volume is, or was, bound to."""
    return str((meta.spec(volume).get("claimRef") or {}).get("name") or "")


def accounts(started: Line) -> Accounts:
    """Who gives pods their tokens, and knows them again."""
    return Accounts(started.objects, SIGNER)


def test_a_guest_finds_every_kind_of_volume_and_what_it_wrote_lasts_as_each_kind_does(
    started: Line, touring: Path, images: Publisher
) -> None:
    """B-08, B-11 and B-12: the guest reboots, its machine is stopped and started, deleted and made again."""
    put(started, touring)
    started.objects.patch(KUBEVIRT, Key("kubevirt", "kubevirt"), HOST_DISK)
    started.objects.create(SECRET, builders.secret("keys", alice="ssh-ed25519 AAAA"))
    started.objects.create(SECRET, builders.secret("words", password="x y"))
    started.objects.create(SECRET, builders.secret("silent", **{"Autounattend.xml": "<b/>"}))
    started.objects.create(CONFIG_MAP, builders.config_map("settings", color="blue"))
    started.objects.create(CONFIG_MAP, builders.config_map("answers", **{"unattend.xml": "<a/>"}))
    started.objects.create(CONFIG_MAP, builders.config_map("kube-root-ca.crt", **{"ca.crt": "roots"}))
    started.objects.create(SERVICE_ACCOUNT, builders.some(SERVICE_ACCOUNT, "robot"))
    image = images.push(tar([entry("disk/some.img", bytes(1 << 20))]), pack="").removeprefix("docker://")

    started.objects.create(MACHINE, wanted(started, image))
    first = said(started)
    assert first["seed"]["user-data"] == "#cloud-config|users: []|"
    assert "ssh-ed25519 AAAA" in first["seed"]["meta-data"]
    assert '"local-hostname": "tourist"' in first["seed"]["meta-data"]
    assert first["drive"]["openstack/latest/user_data"] == "as it is"
    assert first["about"] == {"name": "vm", "kind": "guest"}
    assert first["answers"] | first["silent"] == {"unattend.xml": "<a/>", "Autounattend.xml": "<b/>"}
    assert first["words"] | first["settings"] == {"password": "x y", "color": "blue"}
    assert (first["account"]["namespace"], first["account"]["ca.crt"]) == ("default", "roots")
    user, _ = accounts(started).user(str(first["account"]["token"]), [ISSUER])
    assert user.name == "system:serviceaccount:default:robot"
    assert first["counts"] == every("0")

    started.objects.patch(CONFIG_MAP, Key("settings", "default"), {"data": {"color": "red"}})
    started.objects.patch(SECRET, Key("words", "default"), {"stringData": {"password": "z"}})
    started.doors.order(meta.uid(started.pod(started.found(INSTANCE, "vm"))), "softreboot")
    rebooted = said(started, tours=2)
    assert rebooted["counts"] == every("0", "1")
    assert [rebooted[disc] for disc in MADE] == [first[disc] for disc in MADE]

    started.objects.patch(MACHINE, Key("vm", "default"), {"spec": {"runStrategy": "Halted"}})
    eventually(lambda: started.gone(INSTANCE, "vm"))
    started.objects.patch(MACHINE, Key("vm", "default"), {"spec": {"runStrategy": "Always"}})
    again = said(started)
    assert again["counts"] == every("0") | kept("2")
    assert again["words"] | again["settings"] == {"password": "z", "color": "red"}
    assert again["account"]["token"] != first["account"]["token"]

    started.objects.delete(MACHINE, Key("vm", "default"))
    eventually(lambda: started.gone(MACHINE, "vm"))
    started.objects.create(MACHINE, wanted(started, image))
    assert said(started)["counts"] == every("0") | kept("3")
    untouched = (folder(started, "base") / "disk.img").read_bytes() == bytes(1 << 20)
    assert untouched, "an ephemeral disk was written through"


def every(*counts: str) -> dict[str, object]:
    """These counts on every disk."""
    return {name: list(counts) for name in (*KEPT, *LOST)}


def kept(count: str) -> dict[str, object]:
    """This one on those that are kept."""
    return {name: [count] for name in KEPT}


def put(started: Line, touring: Path) -> None:
    """The claims: the guest's root, one that lasts, one that is only read."""
    for name in ("root", "base", "kept", "filled"):
        started.objects.create(CLAIM, builders.claim(name, "1Gi" if name == "root" else "8Mi"))
    for name in ("root", "base"):
        disk = folder(started, name) / "disk.img"
        if name == "root":
            subprocess.run(["qemu-img", "convert", "-O", "raw", touring, disk], check=True)
        else:
            disk.write_bytes(bytes(1 << 20))
        disk.chmod(0o666)
    for name in RAW:
        started.objects.create(CLAIM, builders.claim(name, "4Mi", volumeMode="Block"))


def folder(started: Line, claim: str) -> Path:
    """Where a claim's volume lies."""
    bound = eventually(lambda: started.found(CLAIM, claim, "Bound"))
    return started.volumes / str(bound["spec"]["volumeName"])


def wanted(started: Line, image: str) -> Obj:
    """The machine with a volume of each kind."""
    volumes = [
        {"name": "root", "persistentVolumeClaim": {"claimName": "root"}},
        {"name": "lasting", "persistentVolumeClaim": {"claimName": "kept"}},
        {"name": "filled", "dataVolume": {"name": "filled"}},
        {"name": "packed", "containerDisk": {"image": image}},
        {"name": "hosted", "hostDisk": {
            "path": str(started.host / "vms/disk.img"), "type": "DiskOrCreate", "capacity": "4Mi",
        }},
        {"name": "empty", "emptyDisk": {"capacity": "4Mi"}},
        {"name": "fleeting", "ephemeral": {"persistentVolumeClaim": {"claimName": "base"}}},
        {"name": "seed", "cloudInitNoCloud": {"userData": "#cloud-config\nusers: []\n"}},
        {"name": "drive", "cloudInitConfigDrive": {"userDataBase64": "YXMgaXQgaXM="}},
        {"name": "words", "secret": {"secretName": "words"}},
        {"name": "settings", "configMap": {"name": "settings", "volumeLabel": "cidata"}},
        {"name": "missing", "configMap": {"name": "nowhere", "optional": True}},
        {"name": "answers", "sysprep": {"configMap": {"name": "answers"}}},
        {"name": "silent", "sysprep": {"secret": {"name": "silent"}}},
        {"name": "account", "serviceAccount": {"serviceAccountName": "robot"}},
        *({"name": name, "persistentVolumeClaim": {"claimName": name}} for name in RAW),
        {"name": "about", "downwardAPI": {"fields": [
            {"path": "name", "fieldRef": {"fieldPath": "metadata.annotations['kubevirt.io/domain']"}},
            {"path": "kind", "fieldRef": {"fieldPath": "metadata.labels['role']"}},
        ]}},
    ]  # fmt: skip
    key = {"source": {"secret": {"secretName": "keys"}}, "propagationMethod": {"noCloud": {}}}
    disks = [
        {"name": each["name"], "serial": each["name"], "disk": {"bus": "virtio"}} | _first(each)
        for each in volumes
    ]
    made = builders.machine("vm")
    made["spec"]["template"] = {
        "metadata": {"labels": {"role": "guest"}},
        "spec": {
            "hostname": "tourist",
            "accessCredentials": [{"sshPublicKey": key}],
            "terminationGracePeriodSeconds": 10,
            "volumes": volumes,
            "domain": {"resources": {"requests": {"memory": "128Mi"}}, "devices": {"disks": disks}},
        },
    }
    return made


def _first(volume: Obj) -> Obj:
    return {"bootOrder": 1} if volume["name"] == "root" else {}


def said(started: Line, tours: int = 1) -> dict[str, dict[str, object]]:
    """What the guest has printed once so many tours have ended: files by disc, counts by disk."""

    def ended() -> list[str]:
        text = started.console(started.found(INSTANCE, "vm", "Running"))
        assert text.count("TOUR ends") == tours, text
        assert text.count("This is a shell") == tours, text  # it hears its power button from now on
        return text.splitlines()

    lines = [each[5:] for each in eventually(ended, 180) if "TOUR " in each]
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
