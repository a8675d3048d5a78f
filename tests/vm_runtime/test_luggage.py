"""What a launcher's pod carries for each kind of its guest's volumes, and who may use a claim beside whom."""

from pathlib import Path
from typing import Any

import pytest

from diskyard.api.config import Config
from diskyard.api.instance import Instance, instance
from diskyard.api.meta import Obj
from diskyard.api.rules.instance import defaults
from diskyard.errors import InvalidRequest
from tests import builders
from vm_runtime.controller import supply
from vm_runtime.controller.luggage import pieces, service_account
from vm_runtime.controller.pod import launcher_pod, overhead
from vm_runtime.launcher import hugepages

PRIVATE = "/var/run/kubevirt-private"


def guest(*volumes: Obj, **spec: Any) -> Instance:
    """An instance with those volumes, the claims among them bound."""
    obj = builders.stored(builders.instance("vm", volumes=list(volumes), **spec))
    obj["spec"]["domain"]["devices"]["disks"] = []
    known = {"claimName": "c", "volumeMode": "Filesystem"}
    obj["status"] = {"volumeStatus": [{"name": "v", "persistentVolumeClaimInfo": known}]}
    return instance(defaults(obj))


def carried(asked: Instance) -> dict[str, tuple[Obj, str]]:
    """Name -> (source, path) of all but the launcher's own."""
    return {each.name: (each.source, each.path) for each in pieces(asked, Config())[2:]}


@pytest.mark.parametrize(
    ("volume", "source", "path"),
    [
        ({"persistentVolumeClaim": {"claimName": "c"}}, {"persistentVolumeClaim": {"claimName": "c"}},
         f"{PRIVATE}/vmi-disks/v"),
        ({"persistentVolumeClaim": {"claimName": "c", "readOnly": True}},
         {"persistentVolumeClaim": {"claimName": "c", "readOnly": True}}, f"{PRIVATE}/vmi-disks/v"),
        ({"ephemeral": {"persistentVolumeClaim": {"claimName": "c"}}},
         {"persistentVolumeClaim": {"claimName": "c", "readOnly": True}}, f"{PRIVATE}/vmi-disks/v"),
        ({"secret": {"secretName": "s", "optional": True, "volumeLabel": "x"}},
         {"secret": {"secretName": "s", "optional": True}}, f"{PRIVATE}/secret/v"),
        ({"configMap": {"name": "m"}}, {"configMap": {"name": "m"}}, f"{PRIVATE}/config-map/v"),
        ({"sysprep": {"secret": {"name": "s"}}}, {"secret": {"secretName": "s"}}, f"{PRIVATE}/sysprep/v"),
        ({"sysprep": {"configMap": {"name": "m"}}}, {"configMap": {"name": "m"}}, f"{PRIVATE}/sysprep/v"),
    ],
)  # fmt: skip
def test_a_volume_is_carried_to_where_the_launcher_looks(volume: Obj, source: Obj, path: str) -> None:
    assert carried(guest({"name": "v", **volume})) == {"v": (source, path)}


def test_secrets_of_cloud_init_and_of_credentials_are_carried_beside() -> None:
    seed = {"secretRef": {"name": "user"}, "networkDataSecretRef": {"name": "net"}}
    key = {"source": {"secret": {"secretName": "keys"}}, "propagationMethod": {"noCloud": {}}}

    found = carried(
        guest({"name": "v", "cloudInitNoCloud": seed}, accessCredentials=[{"sshPublicKey": key}] * 2)
    )

    assert found == {
        "v-udata": ({"secret": {"secretName": "user"}}, f"{PRIVATE}/secret/v-udata"),
        "v-ndata": ({"secret": {"secretName": "net"}}, f"{PRIVATE}/secret/v-ndata"),
        "keys-access-cred": ({"secret": {"secretName": "keys"}}, f"{PRIVATE}/secret/keys-access-cred"),
    }


@pytest.mark.parametrize(
    ("domain", "kept"),
    [
        ({"devices": {"tpm": {}}, "firmware": {"bootloader": {"efi": {}}}}, False),
        ({"devices": {"tpm": {"enabled": False, "persistent": True}}}, False),
        ({"devices": {"tpm": {"persistent": True}}}, True),
        ({"firmware": {"bootloader": {"efi": {"persistent": True}}}}, True),
    ],
)
def test_a_claim_for_what_firmware_and_tpm_remember_is_carried_where_they_do(domain: Obj, kept: bool) -> None:
    asked = instance(builders.stored(builders.instance("vm", domain=domain), uid="vmi"))

    found = [
        each.volume for each in pieces(asked, Config()) if each.path == "/var/run/kubevirt-private/vm-state"
    ]

    claim = {"claimName": "persistent-state-for-vm"}
    assert found == ([{"name": "vm-state", "persistentVolumeClaim": claim}] if kept else [])


def test_what_the_launcher_makes_itself_is_not_carried() -> None:
    made = guest(
        {"name": "v", "emptyDisk": {"capacity": "1Gi"}}, {"name": "w", "cloudInitNoCloud": {"userData": "x"}}
    )

    assert carried(made) == {}


def test_the_pod_is_of_the_service_account_whose_token_the_guest_reads() -> None:
    asked = guest({"name": "v", "serviceAccount": {"serviceAccountName": "robot"}})

    assert service_account(asked) == "robot"
    assert carried(asked)["v"][1] == "/var/run/secrets/kubernetes.io/serviceaccount"


@pytest.mark.parametrize(
    ("own", "theirs", "kept_out"),
    [
        ({"ephemeral": {"persistentVolumeClaim": {"claimName": "c"}}}, {"claimName": "c", "readOnly": True}, False),
        ({"ephemeral": {"persistentVolumeClaim": {"claimName": "c"}}}, {"claimName": "c"}, True),
        ({"persistentVolumeClaim": {"claimName": "c"}}, {"claimName": "c", "readOnly": True}, True),
        ({"persistentVolumeClaim": {"claimName": "c"}}, {"claimName": "c"}, True),
        ({"persistentVolumeClaim": {"claimName": "c"}}, {"claimName": "other"}, False),
        ({"persistentVolumeClaim": {"claimName": "c", "readOnly": True}}, {"claimName": "c", "readOnly": True}, False),
        ({"persistentVolumeClaim": {"claimName": "c", "readOnly": True}}, {"claimName": "c"}, True),
    ],
)  # fmt: skip
def test_readers_of_a_claim_bear_with_readers_alone(own: Obj, theirs: Obj, kept_out: bool) -> None:
    pod = builders.pod("other", "x", volumes=[{"name": "v", "persistentVolumeClaim": theirs}])

    (volume,) = guest({"name": "v", **own}).volumes

    assert supply.uses(pod, volume) is kept_out


def test_huge_pages_are_asked_of_the_node_and_of_the_machine(tmp_path: Path) -> None:
    obj = builders.stored(builders.instance("vm"))
    obj["spec"]["domain"]["memory"] = {"guest": "64Mi", "hugepages": {"pageSize": "2Mi"}}
    asked = instance(defaults(obj))

    pod = launcher_pod(obj, asked, Config(), accelerated=False)

    resources = pod["spec"]["containers"][0]["resources"]
    assert resources["limits"]["hugepages-2Mi"] == str(64 << 20)
    assert int(resources["requests"]["memory"]) == overhead(64 << 20, 1)
    with pytest.raises(InvalidRequest, match="asks for 32 huge pages of 2Mi, and its node has 31 free"):
        hugepages.check(asked, pool(tmp_path, 31))
    hugepages.check(asked, pool(tmp_path, 32))


def pool(folder: Path, free: int) -> Path:
    """What the kernel says of such pages."""
    (folder / "hugepages-2048kB").mkdir(exist_ok=True)
    (folder / "hugepages-2048kB/free_hugepages").write_text(f"{free}\n")
    return folder
