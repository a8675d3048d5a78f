"""The small discs that guests read: what is on them, under which names and labels."""

import base64
import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pycdlib
import pytest

from diskyard.api.instance import Instance, instance, mac
from diskyard.api.meta import Obj
from diskyard.api.rules.instance import defaults
from diskyard.errors import InvalidRequest
from tests import builders
from vm_runtime.launcher import discs, iso
from vm_runtime.launcher.place import Place

UID = "11111111-2222-3333-4444-555555555555"


def guest(volume: Obj, **spec: Any) -> Instance:
    """An instance with that one volume, called `v`."""
    obj = builders.stored(builders.instance("vm", volumes=[{"name": "v", **volume}], **spec), uid=UID)
    obj["spec"]["domain"]["devices"]["disks"] = [{"name": "v", "disk": {"bus": "virtio"}}]
    return instance(defaults(obj))


def made(directory: Path, asked: Instance) -> tuple[str, dict[str, bytes]]:
    """Label and files of the disc that the guest gets, as a reader with Joliet sees them."""
    place = Place(private=directory, service_account=directory / "account")
    return read(discs.disc(asked, asked.volumes[0], place))


def read(path: Path) -> tuple[str, dict[str, bytes]]:
    """Label and files of a disc."""
    disc = pycdlib.PyCdlib()
    disc.open(str(path))
    files = {}
    for folder, _, names in disc.walk(joliet_path="/"):
        for name in names:
            whole = f"{folder.rstrip('/')}/{name}"
            content = BytesIO()
            disc.get_file_from_iso_fp(content, joliet_path=whole)
            files[whole.lstrip("/")] = content.getvalue()
    label = disc.pvd.volume_identifier.decode().rstrip()
    disc.close()
    return label, files


def put(directory: Path, files: Mapping[str, bytes]) -> None:
    """Lay files down as a kubelet does: behind a link, in a folder with the time in its name."""
    real = directory / "..2026_01_01"
    for name, content in files.items():
        path = real / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        first = Path(name).parts[0]
        if not (directory / first).is_symlink():
            (directory / first).symlink_to(Path("..data") / first)
    (directory / "..data").symlink_to(real.name)


def test_no_cloud_has_the_name_the_id_and_the_text(tmp_path: Path) -> None:
    label, files = made(tmp_path, guest({"cloudInitNoCloud": {"userData": "#cloud-config\nusers: []\n"}}))

    assert label == "cidata"
    assert json.loads(files.pop("meta-data")) == {"instance-id": UID, "local-hostname": "vm"}
    assert files == {"user-data": b"#cloud-config\nusers: []\n"}


def test_text_that_is_no_cloud_config_passes_as_it_is(tmp_path: Path) -> None:
    _, files = made(tmp_path, guest({"cloudInitNoCloud": {"userDataBase64": "SGkuXG4="}}))

    assert files["user-data"] == b"Hi.\\n"


def test_network_data_stands_beside_user_data(tmp_path: Path) -> None:
    network = base64.b64encode(b"version: 2").decode()
    source = {"userData": "x", "networkDataBase64": network}

    _, files = made(tmp_path, guest({"cloudInitNoCloud": source}, hostname="web.example.com"))

    assert files["network-config"] == b"version: 2"
    assert json.loads(files["meta-data"])["local-hostname"] == "web"


def test_a_guest_that_is_only_told_its_network_has_empty_user_data(tmp_path: Path) -> None:
    _, files = made(tmp_path, guest({"cloudInitNoCloud": {"networkData": "version: 2"}}))

    assert (files["user-data"], files["network-config"]) == (b"", b"version: 2")


def test_a_configuration_drive_has_openstacks_layout(tmp_path: Path) -> None:
    source = {"userData": "#!/bin/sh\n", "networkData": "{}"}

    label, files = made(tmp_path, guest({"cloudInitConfigDrive": source}))

    about = json.loads(files.pop("openstack/latest/meta_data.json"))
    assert label == "config-2"
    assert (about["instance_id"], about["hostname"], about["uuid"]) == ("vm.default", "vm", UID)
    assert files == {
        "openstack/latest/user_data": b"#!/bin/sh\n",
        "openstack/latest/network_data.json": b"{}",
    }


@pytest.mark.parametrize("key", ["userdata", "userData"])
def test_user_data_comes_from_a_secret(tmp_path: Path, key: str) -> None:
    put(tmp_path / "secret/v-udata", {key: b"from the secret"})

    _, files = made(
        tmp_path, guest({"cloudInitNoCloud": {"secretRef": {"name": "s"}, "userData": "not this"}})
    )

    assert files["user-data"] == b"from the secret"


@pytest.mark.parametrize("key", ["networkdata", "networkData"])
@pytest.mark.parametrize(
    ("kind", "file"),
    [("cloudInitNoCloud", "network-config"), ("cloudInitConfigDrive", "openstack/latest/network_data.json")],
)
def test_network_data_comes_from_a_secret_of_its_own(tmp_path: Path, kind: str, file: str, key: str) -> None:
    put(tmp_path / "secret/v-ndata", {key: b"version: 2"})

    _, files = made(tmp_path, guest({kind: {"userData": "x", "networkDataSecretRef": {"name": "s"}}}))

    assert files[file] == b"version: 2"


@pytest.mark.parametrize(
    ("kind", "file", "entry"),
    [
        ("cloudInitNoCloud", "meta-data", "instance-type"),
        ("cloudInitConfigDrive", "openstack/latest/meta_data.json", "instance_type"),
    ],
)
def test_a_guest_reads_the_type_of_instance_that_it_is_of(
    tmp_path: Path, kind: str, file: str, entry: str
) -> None:
    volume = {"name": "v", kind: {"userData": "x"}}
    notes = {"annotations": {"kubevirt.io/instancetype-name": "small"}}
    obj = builders.stored(builders.instance("vm", volumes=[volume]), uid=UID, **notes)

    _, files = made(tmp_path, instance(defaults(obj)))

    assert json.loads(files[file])[entry] == "small"


def test_a_configuration_drive_names_the_cards_by_their_addresses(tmp_path: Path) -> None:
    asked = guest({"cloudInitConfigDrive": {"userData": "x"}})

    _, files = made(tmp_path, asked)

    about = json.loads(files["openstack/latest/meta_data.json"])
    assert about["devices"] == [{"type": "nic", "mac": mac(asked, asked.interfaces[0])}]


def test_a_configuration_drive_passes_on_what_a_card_is_tagged_with(tmp_path: Path) -> None:
    volume = {"name": "v", "cloudInitConfigDrive": {"userData": "x"}}
    obj = builders.stored(
        builders.instance("vm", volumes=[volume], networks=[{"name": "n", "pod": {}}]), uid=UID
    )
    obj["spec"]["domain"]["devices"]["interfaces"] = [{"name": "n", "masquerade": {}, "tag": "front"}]

    _, files = made(tmp_path, instance(defaults(obj)))

    assert json.loads(files["openstack/latest/meta_data.json"])["devices"][0]["tags"] == ["front"]


def test_a_secret_without_the_key_says_what_it_has(tmp_path: Path) -> None:
    put(tmp_path / "secret/v-udata", {"user": b"x"})

    with pytest.raises(
        InvalidRequest, match="volume v: its Secret must have the key userdata or userData, and has user"
    ):
        made(tmp_path, guest({"cloudInitNoCloud": {"secretRef": {"name": "s"}}}))


def test_broken_cloud_config_of_a_secret_is_refused_with_its_place(tmp_path: Path) -> None:
    put(tmp_path / "secret/v-udata", {"userdata": b"#cloud-config\nusers: [\n"})

    with pytest.raises(InvalidRequest, match=r"volume v: .*is no YAML: line 3, column 1"):
        made(tmp_path, guest({"cloudInitNoCloud": {"secretRef": {"name": "s"}}}))


@pytest.mark.parametrize(
    ("kind", "method", "where"),
    [
        ("cloudInitNoCloud", "noCloud", "meta-data public-keys"),
        ("cloudInitConfigDrive", "configDrive", "openstack/latest/meta_data.json public_keys"),
    ],
)
def test_public_keys_of_a_secret_are_in_the_meta_data(
    tmp_path: Path, kind: str, method: str, where: str
) -> None:
    put(
        tmp_path / "secret/keys-access-cred", {"alice": b"ssh-ed25519 A alice\n", "bob": b"ssh-ed25519 B bob"}
    )
    key = {"source": {"secret": {"secretName": "keys"}}, "propagationMethod": {method: {}}}

    _, files = made(tmp_path, guest({kind: {"userData": "x"}}, accessCredentials=[{"sshPublicKey": key}]))

    file, entry = where.split()
    assert json.loads(files[file])[entry] == {"0": "ssh-ed25519 A alice", "1": "ssh-ed25519 B bob"}


@pytest.mark.parametrize(
    ("volume", "folder"),
    [
        ({"secret": {"secretName": "s"}}, "secret"),
        ({"configMap": {"name": "c"}}, "config-map"),
        ({"downwardAPI": {"fields": []}}, "downwardapi"),
    ],
)
def test_a_disc_has_the_entries_and_none_of_the_kubelets_own_names(
    tmp_path: Path, volume: Obj, folder: str
) -> None:
    content = {"one": b"1", "deep/two": b"2", "a name that is longer than eight and three.text": b"3"}
    put(tmp_path / folder / "v", content)

    label, files = made(tmp_path, guest(volume))

    assert (label, files) == ("cfgdata", content)


def test_a_disc_of_what_may_be_missing_and_is_has_nothing_on_it(tmp_path: Path) -> None:
    assert made(tmp_path, guest({"secret": {"secretName": "s", "optional": True}})) == ("cfgdata", {})


def test_a_config_map_can_be_a_cloud_init_disc(tmp_path: Path) -> None:
    put(tmp_path / "config-map/v", {"user-data": b"#cloud-config\n", "meta-data": b"{}"})

    label, files = made(tmp_path, guest({"configMap": {"name": "c", "volumeLabel": "cidata"}}))

    assert (label, sorted(files)) == ("cidata", ["meta-data", "user-data"])


def test_a_service_accounts_disc_has_its_token(tmp_path: Path) -> None:
    put(tmp_path / "account", {"token": b"t", "ca.crt": b"c", "namespace": b"default"})

    label, files = made(tmp_path, guest({"serviceAccount": {"serviceAccountName": "me"}}))

    assert (label, files["token"]) == ("cfgdata", b"t")


def test_an_answer_file_is_found_whatever_its_case(tmp_path: Path) -> None:
    put(tmp_path / "sysprep/v", {"Autounattend.XML": b"<unattend/>"})

    label, files = made(tmp_path, guest({"sysprep": {"configMap": {"name": "c"}}}))

    assert (label, files) == ("unattendCD", {"Autounattend.XML": b"<unattend/>"})


def test_a_sysprep_disc_without_an_answer_file_says_what_it_has(tmp_path: Path) -> None:
    put(tmp_path / "sysprep/v", {"other.xml": b""})

    with pytest.raises(InvalidRequest, match=r"neither were found\. It has other\.xml"):
        made(tmp_path, guest({"sysprep": {"secret": {"name": "s"}}}))


def test_a_disc_is_made_anew_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "d.iso"
    iso.write(path, "one", {"a": b"old"})

    iso.write(path, "two", {"a": b"new", "b": b"x" * 5000})

    assert read(path) == ("two", {"a": b"new", "b": b"x" * 5000})
    assert [each.name for each in tmp_path.iterdir()] == ["d.iso"]


def test_a_disc_has_a_bound(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="at most 16777216 are possible"):
        iso.write(tmp_path / "d.iso", "big", {"a": bytes(iso.MOST + 1)})
    with pytest.raises(InvalidRequest, match="a name on it has at most 64 characters"):
        iso.write(tmp_path / "d.iso", "long", {"n" * 65: b""})
