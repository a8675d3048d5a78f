"""What a DataVolume waits for and comes later: classes, defaults, what a class gives, room for its pod."""

from diskyard.api import meta
from diskyard.api.meta import CLAIM, POD, RESOURCE_QUOTA, STORAGE_CLASS, STORAGE_PROFILE, Key
from diskyard.api.names import cdi
from tests import builders
from tests.builders import data_volume, eventually, some
from tests.datavolume_controller.conftest import Node, condition


def defaulted(node: Node, said: str) -> None:
    annotations = {"metadata": {"annotations": {cdi.DEFAULT_CLASS: said}}}
    node.client.patch(STORAGE_CLASS, Key("local"), annotations)


def test_a_default_class_that_is_named_later_is_taken_at_once(node: Node) -> None:
    defaulted(node, "false")
    node.apply(data_volume("disk"))
    reason, message = eventually(lambda: all(said := condition(node.dv(), "Bound")[1:]) and said)
    assert (reason, node.gone(CLAIM, "disk")) == ("ErrClaimNotValid", True)
    assert "local, local-wait" in message

    defaulted(node, "true")

    assert node.claim()["spec"]["storageClassName"] == "local"


def test_what_an_unknown_class_gives_is_said_in_its_profile_later(node: Node) -> None:
    strange = builders.storage_class("strange") | {"provisioner": "storage.example"}
    node.client.create(STORAGE_CLASS, strange)
    wanted = {"resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "strange"}
    node.apply(data_volume("disk", storage=wanted))
    said = eventually(lambda: condition(node.dv(), "Bound")[2])
    assert "claimPropertySets in that StorageProfile" in said

    sets = [{"accessModes": ["ReadWriteMany"], "volumeMode": "Block"}]
    node.client.patch(STORAGE_PROFILE, Key("strange"), {"spec": {"claimPropertySets": sets}})

    spec = node.claim()["spec"]
    assert (spec["accessModes"], spec["volumeMode"]) == (["ReadWriteMany"], "Block")


def test_a_quota_on_pods_is_named_on_the_datavolume_in_one_line_and_the_import_goes_on_once_it_is_lifted(
    node: Node,
) -> None:
    node.client.create(RESOURCE_QUOTA, some(RESOURCE_QUOTA, "few", spec={"hard": {"pods": "0"}}))
    node.apply(data_volume("disk"))
    node.bind()

    status, reason, message = eventually(lambda: (said := condition(node.dv(), "Running"))[2] and said)
    assert (status, reason) == ("False", "ErrExceededQuota")
    assert "importer-disk" in message
    assert "exceeded quota: few, requested: pods=1, used: pods=0, limited: pods=0" in message
    assert "\n" not in message
    assert any(each == f"ErrExceededQuota: {message}" for each in node.told("DataVolume"))

    node.client.patch(RESOURCE_QUOTA, Key("few", "default"), {"spec": {"hard": {"pods": "1"}}})

    eventually(lambda: not node.gone(POD, "importer-disk"), 60)
    eventually(lambda: meta.phase(node.dv()) == "ImportScheduled", 60)
