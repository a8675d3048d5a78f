"""What follows from the CDI's settings, and what the storage classes give."""

from typing import Any

import pytest

from datavolume_controller import admission, configs, profiles
from datavolume_controller.cdis import CDIs
from datavolume_controller.configs import Configs, status
from datavolume_controller.profiles import Profiles
from diskyard.api import meta
from diskyard.api.config import config
from diskyard.api.meta import CDI, CDI_CONFIG, CLAIM, STORAGE_CLASS, STORAGE_PROFILE, Key, Obj
from diskyard.api.names import cdi, upload
from diskyard.api.storage import property_sets, storage_class
from diskyard.errors import Invalid
from diskyard.kube.reconcile import Merge, find
from standalone.store.objects import Objects
from tests import builders
from tests.builders import eventually
from tests.datavolume_controller.conftest import Node
from tests.datavolume_controller.steps import Steps
from tests.datavolume_controller.worlds import NOW


def test_the_defaults_of_every_setting() -> None:
    said = status({}, ["local"])
    assert said["filesystemOverhead"] == {"global": "0.06", "storageClass": {"local": "0.06"}}
    assert said["defaultPodResourceRequirements"]["limits"] == {"cpu": "750m", "memory": "600M"}
    assert (said["scratchSpaceStorageClass"], said["preallocation"]) == ("", False)


@pytest.mark.parametrize(
    ("asked", "overall", "local"),
    [
        ({"global": "0.1"}, "0.1", "0.1"),
        ({"storageClass": {"local": "0"}}, "0.06", "0"),
        ({"global": "1.5", "storageClass": {"local": "lots"}}, "0.06", "0.06"),
    ],
)
def test_overhead_is_overall_or_by_class_and_never_nonsense(asked: Obj, overall: str, local: str) -> None:
    said = status({"filesystemOverhead": asked}, ["local"])["filesystemOverhead"]
    assert (said["global"], said["storageClass"]["local"]) == (overall, local)


def test_resources_are_overridden_field_by_field() -> None:
    said = status({"podResourceRequirements": {"limits": {"memory": "2G"}}}, [])
    assert said["defaultPodResourceRequirements"] == {
        "limits": {"cpu": "750m", "memory": "2G"},
        "requests": {"cpu": "100m", "memory": "60M"},
    }


def test_a_scratch_class_that_does_not_exist_is_none() -> None:
    asked = {"scratchSpaceStorageClass": "fast"}
    assert status(asked, ["local"])["scratchSpaceStorageClass"] == ""
    assert status(asked, ["fast"])["scratchSpaceStorageClass"] == "fast"


def settled(store: Objects) -> Obj:
    Steps(store, [Configs()]).settle()
    return store.get(CDI_CONFIG, Key(cdi.CONFIG_NAME))


def a_cdi(**config: Any) -> Obj:
    return builders.some(CDI, "cdi", spec={"config": config})


def test_the_config_is_made_and_follows_the_cdi(store: Objects) -> None:
    owner = store.create(CDI, a_cdi(featureGates=[cdi.WAIT_GATE], preallocation=True))
    found = settled(store)
    assert config(found).honours_waiting
    assert config(found).preallocation
    assert meta.owned_by(found, owner)


def test_what_is_taken_out_of_the_cdi_goes_from_the_config(store: Objects) -> None:
    store.create(CDI, a_cdi(preallocation=True, filesystemOverhead={"storageClass": {"local": "0.2"}}))
    settled(store)
    store.patch(CDI, Key("cdi"), {"spec": {"config": {"preallocation": None, "filesystemOverhead": None}}})
    found = settled(store)
    assert not config(found).preallocation
    assert "filesystemOverhead" not in meta.spec(found)


@pytest.mark.parametrize("percent", ["1.1", "2", "-0.1", "none", "0,1", "0.0001"])
@pytest.mark.parametrize("where", ["global", "storageClass"])
def test_an_overhead_that_is_none_is_refused(store: Objects, where: str, percent: str) -> None:
    said = {"global": percent} if where == "global" else {"storageClass": {"local": percent}}
    with pytest.raises(Invalid, match=f"filesystemOverhead.{where}"):
        store.create(CDI, a_cdi(filesystemOverhead=said))


@pytest.mark.parametrize("percent", ["0", "0.0", "0.123", "1"])
def test_an_overhead_is_a_part_of_the_whole(store: Objects, percent: str) -> None:
    store.create(CDI, a_cdi(filesystemOverhead={"global": percent}))
    assert meta.status(settled(store))["filesystemOverhead"]["global"] == percent


def test_the_config_comes_back_and_says_what_the_cdi_says(node: Node) -> None:
    def uid() -> str:
        return meta.uid(find(node.client, CDI_CONFIG, Key(cdi.CONFIG_NAME)) or {})

    first = eventually(uid)
    node.client.delete(CDI_CONFIG, Key(cdi.CONFIG_NAME))
    eventually(lambda: uid() not in ("", first))

    gates = {"spec": {"featureGates": [cdi.WAIT_GATE, cdi.ADOPTION_GATE]}}
    node.client.patch(CDI_CONFIG, Key(cdi.CONFIG_NAME), gates)

    def gated() -> list[str]:
        return list(meta.spec(node.client.get(CDI_CONFIG, Key(cdi.CONFIG_NAME)))["featureGates"])

    eventually(lambda: gated() == [cdi.WAIT_GATE])


def leads(host: str = "uploads.example", service: str = "cdi-uploadproxy") -> Obj:
    """An Ingress to that Service."""
    path = {"path": "/", "backend": {"service": {"name": service, "port": {"number": 443}}}}
    return {"spec": {"rules": [{"host": "first.example"}, {"host": host, "http": {"paths": [path]}}]}}


BARE: Obj = {"spec": {"defaultBackend": {"resource": {"kind": "Bucket", "name": "b"}}}}
PROXY_SERVICE = {"metadata": {"annotations": {upload.PROXY_URL: "https://own:31001"}}}
WAYS: dict[str, tuple[Obj, tuple[Obj, ...], str]] = {
    "by an ingress": ({}, (leads(),), "uploads.example"),
    "by an ingress among others": ({}, (BARE, leads(service="other"), leads()), "uploads.example"),
    "as the operator says, whatever leads there": (
        {"uploadProxyURLOverride": "said.example"}, (leads(),), "said.example",
    ),
    "by its own address, where no ingress leads there": ({}, (BARE, leads(service="other")), "https://own:31001"),
    "by its own address, where an ingress has no name": ({}, (leads(host=""),), "https://own:31001"),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "ingresses", "url"), WAYS.values(), ids=WAYS.keys())
def test_the_upload_proxy_is_reached(spec: Obj, ingresses: tuple[Obj, ...], url: str) -> None:
    held = builders.some(CDI_CONFIG, "config", spec=spec)
    world = configs.World(held, None, (), PROXY_SERVICE, ingresses=ingresses)
    (merge,) = Configs().decide(world).actions
    assert isinstance(merge, Merge)
    assert merge.patch["status"]["uploadProxyURL"] == url


def test_a_new_class_gets_its_overhead(node: Node) -> None:
    node.client.create(STORAGE_CLASS, builders.storage_class("later"))

    def known() -> bool:
        found = node.client.get(CDI_CONFIG, Key(cdi.CONFIG_NAME))
        return config(found).overheads.get("later") == "0.06"

    assert eventually(known)


def a_profile(provisioner: str, **spec: Any) -> Obj:
    chosen = {**builders.storage_class("here"), "provisioner": provisioner}
    profile = builders.some(STORAGE_PROFILE, "here", spec=spec)
    return profiles.status(profiles.World(chosen, storage_class(chosen), profile, NOW))


def test_a_profile_says_what_is_known_of_a_provisioner() -> None:
    said = a_profile("diskyard.io/local")
    modes = ("Filesystem", "Block")
    assert said["claimPropertySets"] == [
        {"accessModes": ["ReadWriteOnce"], "volumeMode": mode} for mode in modes
    ]
    assert said["conditions"][0]["reason"] == "RecognizedProvisioner"


def test_the_owners_word_comes_first() -> None:
    own = [{"accessModes": ["ReadWriteMany"], "volumeMode": "Block"}]
    said = a_profile("diskyard.io/local", claimPropertySets=own)
    assert said["claimPropertySets"] == own
    assert property_sets(said["claimPropertySets"])[0].volume_mode == "Block"


def test_an_unknown_provisioner_is_said_so() -> None:
    said = a_profile("odd.example")
    assert said["claimPropertySets"] == []
    assert said["conditions"][0]["reason"] == "UnrecognizedProvisioner"


def test_each_class_has_its_profile(store: Objects) -> None:
    owner = store.create(STORAGE_CLASS, builders.storage_class("here"))
    Steps(store, [Profiles()]).settle()
    found = store.get(STORAGE_PROFILE, Key("here"))
    assert meta.owned_by(found, owner)
    assert meta.status(found)["provisioner"] == "diskyard.io/local"


@pytest.mark.parametrize(
    ("said", "modes"), [({}, ["ReadWriteOnce"]), ({"webhookPvcRendering": "Disabled"}, None)]
)
def test_admission_completes_claims_unless_the_operator_says_otherwise(
    store: Objects, said: Obj, modes: list[str] | None
) -> None:
    default = {"metadata": {"annotations": {cdi.DEFAULT_CLASS: "true"}}}
    store.create(STORAGE_CLASS, builders.storage_class("local", **default))
    store.create(CDI_CONFIG, builders.some(CDI_CONFIG, "config", spec=said))
    asked = builders.some(CLAIM, "disk", spec={"resources": {"requests": {"storage": "1Gi"}}})
    asked["metadata"]["labels"] = {cdi.APPLY_PROFILE_LABEL: "true"}

    assert meta.spec(admission.rendered(store, asked)).get("accessModes") == modes


def test_other_configs_are_nobodys_business(store: Objects) -> None:
    assert configs.Configs().gather(store, Key("other")) is None


def test_the_cdi_says_that_it_is_deployed_once(store: Objects) -> None:
    store.create(CDI, a_cdi())
    cdis = CDIs(lambda: meta.moment(NOW))

    Steps(store, [cdis]).settle()

    found = store.get(CDI, Key("cdi"))
    assert meta.phase(found) == "Deployed"
    assert meta.holds(found, "Available")
    world = cdis.gather(store, Key("cdi"))
    assert world
    assert not cdis.decide(world).actions
