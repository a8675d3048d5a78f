"""What `diskyard run` makes of its command line: names, disks in their order, objects that admission takes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.following import state
from cli.machine import Disk, Machine, machine, name_of, secrets
from diskyard.api.rules import machine as admission

DISKYARD = Path(sys.executable).with_name("diskyard")


def made(**changes: Any) -> Machine:
    fields = {"disks": {"root": Disk("https://example.com/server.qcow2", "2Gi")}, **changes}
    return Machine("server", "default", "1Gi", 2, **fields)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("https://example.com/a/Fedora-Cloud-42.1.x86_64.qcow2", "fedora-cloud-42-1-x86-64"),
        ("https://example.com/disk.img.xz?token=1", "disk"),
        ("docker://quay.io/containerdisks/fedora:42", "fedora"),
        ("docker://quay.io/containerdisks/fedora@sha256:aa", "fedora"),
        ("/home/me/debian-12.5.0-amd64.iso", "debian-12-5-0-amd64"),
        ("gs://bucket/images/debian-12", "debian-12"),
        ("___.raw", "guest"),
    ],
)
def test_a_machine_is_called_as_its_image(image: str, name: str) -> None:
    assert name_of(image) == name


def test_a_disc_comes_behind_the_disk_that_it_installs_onto() -> None:
    disks = {"root": Disk("", "16Gi"), "cdrom": Disk("/tmp/install.iso", "1Gi")}

    obj = machine(made(disks=disks))

    assert [each["spec"]["source"] for each in obj["spec"]["dataVolumeTemplates"]] == [
        {"blank": {}},
        {"upload": {}},
    ]
    assert [
        (each["name"], each["bootOrder"])
        for each in obj["spec"]["template"]["spec"]["domain"]["devices"]["disks"]
    ] == [("root", 1), ("cdrom", 2)]
    assert not admission.causes(admission.defaults(obj), None)


@pytest.mark.parametrize(
    ("user_data", "keys", "names"),
    [
        ("", "", []),
        ("#cloud-config\n{}", "", ["server-cloud-init"]),
        ("", "ssh-ed25519 AAAA me", ["server-cloud-init", "server-ssh-keys"]),
    ],
)
def test_cloud_init_is_read_from_secrets_that_the_machine_owns(
    user_data: str, keys: str, names: list[str]
) -> None:
    wanted = made(user_data=user_data, keys=keys)
    obj = machine(wanted)

    held = secrets(wanted, {**obj, "metadata": {**obj["metadata"], "uid": "u-1"}})

    assert [each["metadata"]["name"] for each in held] == names
    assert all(each["metadata"]["ownerReferences"][0]["uid"] == "u-1" for each in held)
    assert not admission.causes(admission.defaults(obj), None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing.iso"], "there is no file at"),
        (["ftp://example.com/x"], "expected https://, http://, gs://, docker:// or a file"),
        (["{disk}", "--size", "1Mi"], "ask for --size 4Mi, or leave it out"),
        (
            ["{disk}", "--ssh-key", "{key}"],
            "found a private key: give the file whose name ends with .pub",
        ),
    ],
)
def test_what_cannot_run_is_said_before_anything_is_made(tmp_path: Path, words: list[str], said: str) -> None:
    disk = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "4M"], check=True)
    key = tmp_path / "id_ed25519"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE\n")
    command = [DISKYARD, "run", *(word.format(disk=disk, key=key) for word in words)]

    nowhere = {**os.environ, "KUBECONFIG": "", "DISKYARD_DATA_DIR": str(tmp_path / "none")}
    ended = subprocess.run(command, env=nowhere, capture_output=True, text=True, check=False)

    assert ended.returncode == 3
    assert not (tmp_path / "none").exists()
    assert said in ended.stderr


def test_a_machine_that_cannot_start_says_what_holds_it_up() -> None:
    ready = {"type": "Ready", "status": "False", "message": "Guest VM is not reported as running"}
    scheduled = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}
    held = {"printableStatus": "ErrorUnschedulable", "conditions": [ready, scheduled]}

    assert state({"status": held}) == "ErrorUnschedulable: 0/1 nodes are available"
    assert state({"status": {**held, "conditions": [ready]}}) == "ErrorUnschedulable"
    assert state({"status": {**held, "printableStatus": "Starting"}}) == "Starting"
    assert state({}) == ""
