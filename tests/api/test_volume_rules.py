"""What is wrong with an instance's volumes: a sentence for each rule."""

from typing import Any

import pytest

from diskyard.api.meta import Obj
from diskyard.api.rules import instance
from diskyard.api.rules.volumes import NOT_YET
from tests import builders

HERE = "spec.volumes[0]"
SEED = f"{HERE}.cloudInitNoCloud"
KEYS = "spec.accessCredentials[0]"


def refused(*volumes: Obj, **spec: Any) -> list[tuple[str, str]]:
    """(field, message) of what is wrong with a defaulted instance that has those volumes and no other disk."""
    obj = builders.stored(builders.instance("vm", volumes=list(volumes), **spec))
    obj["spec"]["domain"]["devices"]["disks"] = []
    return [(cause.field, cause.message) for cause in instance.causes(instance.defaults(obj), None)]


def one(**source: Any) -> Obj:
    return {"name": "v", **source}


def seed(**source: Any) -> Obj:
    return one(cloudInitNoCloud=source)


def key(method: str, secret: str = "keys") -> list[Obj]:
    source = {"secret": {"secretName": secret}}
    return [{"sshPublicKey": {"source": source, "propagationMethod": {method: {}}}}]


@pytest.mark.parametrize(
    "volume",
    [
        one(persistentVolumeClaim={"claimName": "c"}),
        one(dataVolume={"name": "d"}),
        one(ephemeral={"persistentVolumeClaim": {"claimName": "c"}}),
        one(containerDisk={"image": "example/cirros", "path": "/disk/cirros.img"}),
        one(emptyDisk={"capacity": "2Gi"}),
        seed(userData="Hi.\\n"),
        seed(userDataBase64="SGkuXG4="),
        seed(secretRef={"name": "s"}),
        seed(networkData="version: 2"),
        one(cloudInitConfigDrive={"userData": "#cloud-config\nusers: []\n"}),
        one(secret={"secretName": "s"}),
        one(configMap={"name": "c", "volumeLabel": "cidata", "optional": True}),
        one(serviceAccount={"serviceAccountName": "default"}),
        one(downwardAPI={"fields": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}),
        one(sysprep={"configMap": {"name": "c"}}),
    ],
)
def test_what_is_served_is_admitted(volume: Obj) -> None:
    assert refused(volume) == []


@pytest.mark.parametrize(
    ("volume", "field", "message"),
    [
        (one(), HERE, f"{HERE} must have exactly one source type set"),
        (one(dataVolume={"name": "a"}, persistentVolumeClaim={"claimName": "b"}), HERE,
         f"{HERE} must have exactly one source type set"),
        (one(dataVolume={}), f"{HERE}.name", "DataVolume 'name' must be set"),
        (one(persistentVolumeClaim={"claimName": ""}), f"{HERE}.persistentVolumeClaim.claimName",
         f"{HERE}.persistentVolumeClaim.claimName is a required field"),
        (one(persistentVolumeClaim={"claimName": "c", "readOnly": True}), "spec.domain.devices.disks[0]",
         "spec.domain.devices.disks[0] is on a claim that is only read: it must be a cdrom, or readonly on bus "
         "virtio or scsi"),
        (one(ephemeral={}), f"{HERE}.ephemeral.persistentVolumeClaim.claimName",
         f"{HERE}.ephemeral.persistentVolumeClaim.claimName is a required field"),
        (one(containerDisk={"image": ""}), f"{HERE}.containerDisk.image",
         f"{HERE}.containerDisk.image is a required field"),
        (one(containerDisk={"image": "x", "path": "/"}), f"{HERE}.containerDisk.path",
         f"{HERE}.containerDisk.path must not point to root"),
        (one(containerDisk={"image": "x", "path": "/disk/../etc"}), f"{HERE}.containerDisk.path",
         f"{HERE}.containerDisk.path must be an absolute path to a file without relative components"),
        (one(containerDisk={"image": "x", "imagePullPolicy": "Sometimes"}), f"{HERE}.containerDisk.imagePullPolicy",
         f"{HERE}.containerDisk.imagePullPolicy has invalid value 'Sometimes', allowed are Always, IfNotPresent, "
         "Never"),
        (one(emptyDisk={}), f"{HERE}.emptyDisk.capacity", f"{HERE}.emptyDisk.capacity is a required field"),
        (one(emptyDisk={"capacity": "-1Gi"}), f"{HERE}.emptyDisk.capacity",
         f"{HERE}.emptyDisk.capacity '-1Gi' is too low: a disk has 1Mi at least"),
        (one(emptyDisk={"capacity": "big"}), f"{HERE}.emptyDisk.capacity",
         f"{HERE}.emptyDisk.capacity: 'big' is not a quantity: expected a number with a suffix such as 512Mi, 10Gi "
         "or 6G"),
        (one(secret={}), f"{HERE}.secret.secretName", f"{HERE}.secret.secretName is a required field"),
        (one(configMap={"volumeLabel": "x"}), f"{HERE}.configMap.name", f"{HERE}.configMap.name is a required field"),
        (one(configMap={"name": "c", "volumeLabel": "x" * 33}), f"{HERE}.configMap.volumeLabel",
         f"{HERE}.configMap.volumeLabel '{'x' * 33}' must have at most 32 characters of ASCII"),
        (one(serviceAccount={}), f"{HERE}.serviceAccount.serviceAccountName",
         f"{HERE}.serviceAccount.serviceAccountName is a required field"),
        (one(downwardAPI={"fields": [{"path": "a"}]}), f"{HERE}.downwardAPI.fields[0].fieldRef.fieldPath",
         f"{HERE}.downwardAPI.fields[0].fieldRef.fieldPath is a required field"),
        (one(sysprep={}), f"{HERE}.sysprep", f"{HERE}.sysprep must have exactly one of secret and configMap"),
        (one(sysprep={"secret": {}}), f"{HERE}.sysprep.secret.name", f"{HERE}.sysprep.secret.name is a required field"),
        (seed(), SEED, f"{SEED} must have at least one userdatasource or one networkdatasource set."),
        (seed(userData="a", userDataBase64="Yg=="), SEED, f"{SEED} must have only one userdatasource set."),
        (seed(userDataBase64="?"), f"{SEED}.userDataBase64", f"{SEED}.userDataBase64 is not a valid base64 value."),
        (seed(networkData="a", networkDataBase64="Yg=="), SEED, f"{SEED} must have only one networkdatasource set."),
        (seed(networkDataBase64="?"), f"{SEED}.networkDataBase64",
         f"{SEED}.networkDataBase64 is not a valid base64 value."),
        (seed(networkDataSecretRef={"other": "s"}), f"{SEED}.networkDataSecretRef.name",
         f"{SEED}.networkDataSecretRef.name is a required field"),
        (seed(userData="x" * 2049), f"{SEED}.userData",
         f"{SEED} userdata exceeds 2048 byte limit. Should use UserDataSecretRef for larger data."),
        (seed(networkData="x" * 2049), f"{SEED}.networkData",
         f"{SEED} networkdata exceeds 2048 byte limit. Should use NetworkDataSecretRef for larger data."),
        (seed(userData="#cloud-config\nusers:\n  - name: 'a\n"), f"{SEED}.userData",
         f"{SEED}.userData begins with #cloud-config and is no YAML: line 4, column 1: found unexpected end of "
         "stream"),
        (seed(secretRef={}, userData=""), SEED,
         f"{SEED} must have at least one userdatasource or one networkdatasource set."),
        (seed(secretRef={"other": "s"}), f"{SEED}.secretRef.name", f"{SEED}.secretRef.name is a required field"),
        (one(memoryDump={"claimName": "c"}), f"{HERE}.memoryDump",
         f"{HERE}.memoryDump is not supported yet: persistentVolumeClaim, dataVolume, ephemeral, containerDisk, "
         "emptyDisk, hostDisk, cloudInitNoCloud, cloudInitConfigDrive, sysprep, configMap, secret, downwardAPI, "
         "serviceAccount are"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_field(volume: Obj, field: str, message: str) -> None:
    assert (field, message) in refused(volume)


def test_names_are_unique() -> None:
    twice = refused(one(dataVolume={"name": "a"}), one(dataVolume={"name": "b"}))

    assert ("spec.volumes[1].name", f"{HERE} and spec.volumes[1] must not have the same Name.") in twice


def test_there_are_256_at_most() -> None:
    many = [{"name": f"v{number}", "dataVolume": {"name": "d"}} for number in range(257)]

    assert ("spec.volumes", "spec.volumes list exceeds the 256 element limit in length") in refused(*many)


@pytest.mark.parametrize("kind", NOT_YET)
def test_what_is_not_served_yet_is_refused_with_what_is(kind: str) -> None:
    ((field, message),) = refused(one(**{kind: {"claimName": "c"}}))

    assert field == f"{HERE}.{kind}"
    assert message.startswith(f"{field} is not supported yet: persistentVolumeClaim, dataVolume, ")


def test_what_is_no_volume_is_told_apart_from_what_is_not_served_yet() -> None:
    assert any("floppy is not a kind of volume" in message for _, message in refused(one(floppy={})))


def test_a_guest_has_one_service_account() -> None:
    two = [{"name": name, "serviceAccount": {"serviceAccountName": name}} for name in ("a", "b")]

    assert ("spec.volumes", "spec.volumes must have max one serviceAccount volume set") in refused(*two)


@pytest.mark.parametrize(
    ("credentials", "field", "message"),
    [
        (key("noCloud", ""), f"{KEYS}.sshPublicKey.source.secret.secretName",
         f"{KEYS}.sshPublicKey.source.secret.secretName is a required field"),
        (key("configDrive"), f"{KEYS}.sshPublicKey.propagationMethod",
         f"{KEYS} is to come by configDrive, and there is no volume of the kind cloudInitConfigDrive"),
        (key("pigeon"), f"{KEYS}.sshPublicKey.propagationMethod",
         f"{KEYS}.sshPublicKey.propagationMethod must be exactly one of noCloud and configDrive"),
        (key("qemuGuestAgent"), KEYS,
         f"{KEYS} by the guest agent is not supported yet: sshPublicKey by noCloud or configDrive is"),
    ],
)  # fmt: skip
def test_credentials_need_what_brings_them(credentials: list[Obj], field: str, message: str) -> None:
    assert (field, message) in refused(seed(userData="x"), accessCredentials=credentials)


def test_credentials_on_a_disc_are_admitted() -> None:
    assert refused(seed(userData="x"), accessCredentials=key("noCloud")) == []
