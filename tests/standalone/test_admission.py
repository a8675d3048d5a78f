"""The yard's door: what is looked up, what is filled in, and how a refusal reaches the user."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from diskyard.api import instance as instances
from diskyard.api import lending, meta
from diskyard.api.meta import (
    CDI_CONFIG,
    CLAIM,
    DATA_VOLUME,
    KINDS,
    MACHINE,
    MIGRATION,
    POD,
    STORAGE_CLASS,
    Key,
)
from diskyard.api.names import cdi
from diskyard.api.user import User
from diskyard.errors import Forbidden, Invalid
from standalone.admission import Rules
from standalone.store.objects import Objects
from tests import builders

EXAMPLES = Path(__file__).parents[2] / "docs/examples"


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Objects]:
    """A store with its rules and a default class."""
    rules = Rules()
    with Objects.open(tmp_path / "store.db", rules) as objects:
        rules.serve(objects)
        default = {"metadata": {"annotations": {cdi.DEFAULT_CLASS: "true"}}}
        objects.create(STORAGE_CLASS, builders.storage_class("local", **default))
        yield objects


def test_a_refusal_says_who_refuses_why_and_which_field(yard: Objects) -> None:
    dv = builders.data_volume("disk", source={"blank": {}, "http": {"url": "http://h/a"}})
    with pytest.raises(Invalid) as refusal:
        yard.create(DATA_VOLUME, dv)
    status = refusal.value.status()
    assert status["code"] == 422
    assert 'admission webhook "datavolume-validate.cdi.kubevirt.io" denied the request' in status["message"]
    assert "Multiple Data volume sources" in status["message"]
    assert status["details"]["causes"][0]["field"] == "spec.source"


def test_nothing_of_what_is_refused_is_stored(yard: Objects) -> None:
    with pytest.raises(Invalid):
        yard.create(DATA_VOLUME, builders.data_volume("disk", url="nowhere"))
    assert yard.list(DATA_VOLUME).items == ()


def test_a_spec_cannot_change_by_a_patch(yard: Objects) -> None:
    yard.create(DATA_VOLUME, builders.data_volume("disk"))
    with pytest.raises(Invalid, match="Cannot update DataVolume Spec"):
        yard.patch(DATA_VOLUME, Key("disk", "default"), {"spec": {"contentType": "archive"}})
    yard.patch(DATA_VOLUME, Key("disk", "default"), {"metadata": {"labels": {"team": "blue"}}})


def test_a_claim_in_the_way_is_looked_up_and_so_is_the_gate(yard: Objects) -> None:
    yard.create(CLAIM, builders.claim("disk"))
    with pytest.raises(Invalid, match="Destination PVC default/disk already exists"):
        yard.create(DATA_VOLUME, builders.data_volume("disk"))
    gate = {"featureGates": [cdi.ADOPTION_GATE]}
    yard.create(CDI_CONFIG, builders.some(CDI_CONFIG, cdi.CONFIG_NAME, spec=gate))
    assert yard.create(DATA_VOLUME, builders.data_volume("disk"))


def test_a_claim_gets_the_default_class(yard: Objects) -> None:
    assert meta.spec(yard.create(CLAIM, builders.claim("disk")))["storageClassName"] == "local"


def test_a_claim_of_a_class_that_does_not_expand_asks_for_more_in_vain(yard: Objects) -> None:
    key = Key("disk", "default")
    yard.create(CLAIM, builders.claim("disk", "1Gi"))
    yard.patch(CLAIM, key, {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}, "status")

    with pytest.raises(Forbidden) as refusal:
        yard.patch(CLAIM, key, {"spec": {"resources": {"requests": {"storage": "2Gi"}}}})

    assert str(refusal.value) == (
        'persistentvolumeclaims "disk" is forbidden: only dynamically provisioned pvc can be resized and the '
        "storageclass that provisions the pvc must support resize"
    )


def test_what_is_leaving_is_let_go(yard: Objects) -> None:
    dv = builders.data_volume("disk")
    dv["metadata"]["finalizers"] = ["example.org/hold"]
    yard.create(DATA_VOLUME, dv)
    yard.delete(DATA_VOLUME, Key("disk", "default"))
    yard.patch(DATA_VOLUME, Key("disk", "default"), {"metadata": {"finalizers": None}})
    assert yard.list(DATA_VOLUME).items == ()


def test_nobody_but_our_own_controllers_makes_a_pod_that_sees_the_images_of_a_node(yard: Objects) -> None:
    sees = {"volumes": [lending.volume("images")]}

    with pytest.raises(Forbidden, match='"spy" is forbidden: volume "images": only Diskyard\'s own pods'):
        yard.asked_by(User("ann")).create(POD, builders.pod("spy", **sees))

    assert yard.create(POD, builders.pod("ours", **sees))


def test_until_there_is_a_store_to_look_into_everything_is_let_in() -> None:
    assert Rules().validate(DATA_VOLUME, builders.data_volume("disk", url="nowhere"), None, None) == ()


@pytest.mark.parametrize("version", ["v1", "v1alpha3"])
def test_a_migration_is_refused_in_a_sentence(yard: Objects, version: str) -> None:
    """E-01."""
    asked = {
        "apiVersion": f"kubevirt.io/{version}",
        "kind": "VirtualMachineInstanceMigration",
        "metadata": {"name": "migration-job", "namespace": "default"},
        "spec": {"vmiName": "vmi-fedora"},
    }

    with pytest.raises(
        Invalid, match="live migration is not supported yet: stop the machine and start it again"
    ):
        yard.create(MIGRATION, asked)


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_of_the_documentation_is_admitted(yard: Objects, example: Path) -> None:
    for obj in yaml.safe_load_all(example.read_text()):
        group, _, _ = obj["apiVersion"].rpartition("/")
        (kind,) = (each for each in KINDS if (each.group, each.kind) == (group, obj["kind"]))
        yard.create(kind, {**obj, "metadata": {"namespace": "default", **obj["metadata"]}})


GUIDE = """
apiVersion: kubevirt.io/v1alpha3
kind: VirtualMachine
metadata: {name: testvm, namespace: default}
spec:
  running: false
  template:
    metadata: {labels: {kubevirt.io/size: small, kubevirt.io/domain: testvm}}
    spec:
      domain:
        devices:
          disks:
          - {name: containerdisk, disk: {bus: virtio}}
          - {name: cloudinitdisk, disk: {bus: virtio}}
          interfaces:
          - {name: default, bridge: {}}
        resources: {requests: {memory: 64M}}
      networks:
      - {name: default, pod: {}}
      volumes:
      - {name: containerdisk, containerDisk: {image: example/cirros-container-disk-demo}}
      - {name: cloudinitdisk, cloudInitNoCloud: {userDataBase64: SGkuXG4=}}
"""
"""B-01: the first guest of KubeVirt's own guide."""


def test_the_first_guest_of_kubevirts_guide_is_admitted_as_it_is(yard: Objects) -> None:
    made = yard.create(MACHINE, yaml.safe_load(GUIDE))

    spec = made["spec"]["template"]["spec"]
    assert instances.memory(spec) == 64_000_000
    assert spec["volumes"][1]["cloudInitNoCloud"]["userDataBase64"] == "SGkuXG4="
