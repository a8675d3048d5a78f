"""The scale subresource of a kind whose CRD declares one."""

import pytest

from diskyard.api.meta import CRD, Kind
from tests import builders
from tests.standalone.wire.conftest import Wire

HERD = Kind("tests.example", "v1", "Herd", "herds")
MERGE = "application/merge-patch+json"


@pytest.fixture
def herd(wire: Wire, place: str) -> str:
    number = {"type": "integer"}
    schema = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {"heads": {**number, "maximum": 9}}},
            "status": {"type": "object", "properties": {"seen": number, "labels": {"type": "string"}}},
        },
    }
    paths = {
        "specReplicasPath": ".spec.heads",
        "statusReplicasPath": ".status.seen",
        "labelSelectorPath": ".status.labels",
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}, "scale": paths},
    }
    names = {"kind": "Herd", "plural": "herds"}
    wanted = {"group": HERD.group, "scope": "Namespaced", "names": names, "versions": [version]}
    wire.yard.store.register(builders.some(CRD, "herds.tests.example", spec=wanted))
    made = wire.yard.store.create(HERD, builders.some(HERD, "one", place, spec={"heads": 2}))
    seen = {"metadata": made["metadata"], "status": {"seen": 1, "labels": "of=one"}}
    wire.yard.store.update(HERD, {**made, **seen}, "status")
    return f"/apis/tests.example/v1/namespaces/{place}/herds/one"


def test_the_scale_says_how_many_there_are_and_are_to_be(wire: Wire, herd: str) -> None:
    scale = wire.get(f"{herd}/scale").obj

    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"] == {"replicas": 1, "selector": "of=one"}
    assert scale["metadata"]["name"] == "one"


def test_scaling_changes_the_object_and_is_owned_apart(wire: Wire, herd: str) -> None:
    answer = wire.send(
        "PATCH", f"{herd}/scale?fieldManager=tests", {"spec": {"replicas": 5}}, Content_Type=MERGE
    )

    whole = wire.get(herd).obj
    assert answer.obj["spec"] == {"replicas": 5}
    assert (whole["spec"]["heads"], whole["metadata"]["generation"]) == (5, 2)
    entry = next(one for one in whole["metadata"]["managedFields"] if one["manager"] == "tests")
    assert (entry["subresource"], entry["fieldsV1"]) == ("scale", {"f:spec": {"f:heads": {}}})


def test_a_scale_can_be_replaced_from_what_was_read_only_once(wire: Wire, herd: str) -> None:
    scale = wire.get(f"{herd}/scale").obj

    answers = [wire.send("PUT", f"{herd}/scale", {**scale, "spec": {"replicas": n}}) for n in (3, 4)]

    assert [answer.status for answer in answers] == [200, 409]


@pytest.mark.parametrize("replicas", [-1, "many", 100])
def test_a_number_out_of_rule_is_refused(wire: Wire, herd: str, replicas: object) -> None:
    answer = wire.send("PATCH", f"{herd}/scale", {"spec": {"replicas": replicas}}, Content_Type=MERGE)

    assert answer.status == 422


def test_discovery_tells_of_the_scale(wire: Wire, herd: str) -> None:
    resources = wire.get("/apis/tests.example/v1").obj["resources"]

    scale = next(one for one in resources if one["name"] == "herds/scale")
    assert (scale["kind"], scale["group"], scale["version"]) == ("Scale", "autoscaling", "v1")


def test_a_kind_without_one_has_none(wire: Wire, place: str) -> None:
    assert wire.get(f"/api/v1/namespaces/{place}/configmaps/one/scale").status == 404
