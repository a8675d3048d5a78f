"""Objects over the wire: their forms, their versions, and what a request may hold."""

from collections.abc import Callable

import pytest

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, DATA_VOLUME, Key, Obj
from standalone.wire.body import BODY_LIMIT
from tests import builders
from tests.standalone.wire.conftest import Wire

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
MERGE = "application/merge-patch+json"


def volumes(place: str, version: str = "v1beta1") -> str:
    return f"/apis/cdi.kubevirt.io/{version}/namespaces/{place}/datavolumes"


def maps(place: str) -> str:
    return f"/api/v1/namespaces/{place}/configmaps"


def test_an_old_client_sees_and_writes_its_own_version(wire: Wire, place: str) -> None:
    old = builders.data_volume("one", metadata={}) | {
        "apiVersion": "cdi.kubevirt.io/v1alpha1",
        "metadata": {"name": "one"},
    }

    made = wire.send("POST", volumes(place, "v1alpha1"), old)

    assert made.status == 201
    assert made.obj["apiVersion"] == "cdi.kubevirt.io/v1alpha1"
    assert wire.get(volumes(place)).obj["items"][0]["apiVersion"] == "cdi.kubevirt.io/v1beta1"
    listed = wire.get(volumes(place, "v1alpha1")).obj
    assert listed["apiVersion"] == listed["items"][0]["apiVersion"] == "cdi.kubevirt.io/v1alpha1"
    changed = wire.send("PUT", volumes(place, "v1alpha1") + "/one", made.obj)
    assert changed.obj["apiVersion"] == "cdi.kubevirt.io/v1alpha1"


def test_a_table_has_the_columns_of_the_crd(wire: Wire, place: str, volume: Callable[..., Obj]) -> None:
    volume("one")

    table = wire.get(volumes(place), TABLE).obj

    assert table["kind"] == "Table"
    assert [c["name"] for c in table["columnDefinitions"]] == ["Name", "Phase", "Progress", "Restarts", "Age"]
    assert table["rows"][0]["cells"][0] == "one"
    assert table["rows"][0]["object"]["metadata"]["namespace"] == place
    assert wire.get(volumes(place) + "/one", TABLE).obj["rows"][0]["cells"][0] == "one"


def test_metadata_alone_is_given_when_asked_for(wire: Wire, place: str, volume: Callable[..., Obj]) -> None:
    made = volume("one")

    alone = wire.get(volumes(place) + "/one", PARTIAL).obj
    listed = wire.get(volumes(place), PARTIAL_LIST).obj

    assert alone["kind"] == "PartialObjectMetadata"
    assert alone["metadata"] == made["metadata"]
    assert "spec" not in alone
    assert listed["kind"] == "PartialObjectMetadataList"
    assert listed["items"][0]["metadata"]["name"] == "one"


def test_selectors_choose(wire: Wire, place: str, volume: Callable[..., Obj]) -> None:
    volume("one", labels={"tier": "gold"})
    volume("two")

    by_label = wire.get(volumes(place) + "?labelSelector=tier%3Dgold").obj["items"]
    by_field = wire.get(volumes(place) + "?fieldSelector=metadata.name%3Dtwo").obj["items"]

    assert [meta.name(one) for one in by_label] == ["one"]
    assert [meta.name(one) for one in by_field] == ["two"]


def test_a_dry_run_answers_and_stores_nothing(wire: Wire, place: str) -> None:
    asked = builders.some(CONFIG_MAP, "one", place)

    answer = wire.send("POST", maps(place) + "?dryRun=All", asked)

    assert answer.status == 201
    assert answer.obj["metadata"]["uid"]
    assert wire.get(maps(place)).obj["items"] == []


def test_a_dry_run_in_delete_options_counts(wire: Wire, place: str) -> None:
    wire.send("POST", maps(place), builders.some(CONFIG_MAP, "one", place))

    answer = wire.send("DELETE", maps(place) + "/one", {"kind": "DeleteOptions", "dryRun": ["All"]})

    assert answer.obj["status"] == "Success"
    assert wire.get(maps(place) + "/one").status == 200


def test_a_collection_is_deleted_as_a_whole(wire: Wire, place: str) -> None:
    for name in ("one", "two"):
        wire.send("POST", maps(place), builders.some(CONFIG_MAP, name, place))

    gone = wire.send("DELETE", maps(place))

    assert [meta.name(one) for one in gone.obj["items"]] == ["one", "two"]
    assert wire.get(maps(place)).obj["items"] == []


def test_an_unknown_field_is_warned_of_or_refused(wire: Wire, place: str) -> None:
    asked = builders.data_volume("one", sorce={})
    asked["metadata"].pop("namespace")

    refused = wire.send("POST", volumes(place) + "?fieldValidation=Strict", asked)
    warned = wire.send("POST", volumes(place), asked)

    assert refused.status == 400
    assert 'strict decoding error: unknown field "spec.sorce"' in refused.obj["message"]
    assert warned.status == 201
    assert warned.headers["Warning"] == r'299 - "unknown field \"spec.sorce\""'
    assert "sorce" not in warned.obj["spec"]


def test_the_status_is_written_apart(wire: Wire, place: str, volume: Callable[..., Obj]) -> None:
    volume("one")
    patch = {"status": {"phase": "Succeeded"}}

    wire.send("PATCH", volumes(place) + "/one", patch, Content_Type=MERGE)
    assert "status" not in wire.get(volumes(place) + "/one").obj

    wire.send("PATCH", volumes(place) + "/one/status", patch, Content_Type=MERGE)
    assert wire.get(volumes(place) + "/one/status").obj["status"] == {"phase": "Succeeded"}


def test_yaml_is_read(wire: Wire, place: str) -> None:
    answer = wire.send(
        "POST", maps(place), b"metadata: {name: one}\ndata: {a: b}\n", Content_Type="application/yaml"
    )

    assert answer.status == 201
    assert wire.yard.store.get(CONFIG_MAP, Key("one", place))["data"] == {"a": "b"}


@pytest.mark.parametrize(
    ("method", "body", "kind", "status", "words"),
    [
        ("POST", b"{", "application/json", 400, "is not JSON"),
        ("POST", b"[]", "application/json", 400, "is not an object"),
        ("POST", b"a: [", "application/yaml", 400, "is not YAML"),
        ("POST", b"a: &x [1]\nb: *x\n", "application/yaml", 400, "aliases"),
        ("POST", b"[" * 200 + b"]" * 200, "application/yaml", 400, "levels deep"),
        ("POST", b'{"a":' * 200 + b"1" + b"}" * 200, "application/json", 400, "levels deep"),
        ("POST", b"x", "text/plain", 415, "accepted media types include: application/json"),
        ("POST", b"k8s\0\xff\xff", "application/vnd.kubernetes.protobuf", 400, "is not application/vnd"),
        ("POST", b'{"kind":"Pod"}', "application/json", 400, "cannot be handled as a ConfigMap"),
        ("POST", b'{"metadata":{"namespace":"other"}}', "application/json", 400, "does not match the namespace"),
        ("POST", b'"' + b"x" * BODY_LIMIT + b'"', "application/json", 413, "limit is 3145728"),
        ("PUT", b"{}", "application/json", 405, "does not allow this method"),
    ],
)  # fmt: skip
def test_a_request_that_makes_no_sense_says_why(
    wire: Wire, place: str, method: str, body: bytes, kind: str, status: int, words: str
) -> None:
    answer = wire.send(method, maps(place), body, Content_Type=kind)

    assert (answer.status, answer.obj["code"]) == (status, status)
    assert answer.obj["kind"] == "Status"
    assert words in answer.obj["message"]


def test_a_body_that_is_not_what_its_encoding_says_is_refused(wire: Wire, place: str) -> None:
    answer = wire.send("POST", maps(place), b"{}", Content_Encoding="gzip")

    assert answer.status == 400
    assert "cannot be read" in answer.obj["message"]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            "application/strategic-merge-patch+json",
            "accepted media types include: application/json-patch+json, application/merge-patch+json",
        ),
        ("application/json", "unknown format"),
    ],
)
def test_a_patch_of_another_kind_is_refused(
    wire: Wire, place: str, volume: Callable[..., Obj], kind: str, words: str
) -> None:
    volume("one")

    answer = wire.send("PATCH", volumes(place) + "/one", {}, Content_Type=kind)

    assert answer.status == 415
    assert words in answer.obj["message"]


def test_a_form_that_we_do_not_write_is_not_acceptable(wire: Wire) -> None:
    assert wire.get("/api/v1/pods", "application/vnd.kubernetes.protobuf").status == 406
    assert wire.get("/api/v1/pods", "application/vnd.kubernetes.protobuf,application/json").status == 200


def test_a_name_is_one_segment_of_the_path(wire: Wire, place: str) -> None:
    assert wire.get(maps(place) + "/a%2Fb").obj["message"] == 'configmaps "a/b" not found'


def test_a_kind_comes_and_goes_with_its_crd(wire: Wire) -> None:
    definition = {
        "metadata": {"name": "things.tests.example"},
        "spec": {
            "group": "tests.example",
            "names": {"kind": "Thing", "plural": "things", "listKind": "ThingList", "singular": "thing"},
            "scope": "Cluster",
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
            ],
        },
    }
    made = wire.send("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)

    assert made.status == 201
    assert wire.get("/apis/tests.example/v1/things").obj["kind"] == "ThingList"
    assert DATA_VOLUME.plural in wire.get("/apis/cdi.kubevirt.io/v1beta1").raw.decode()


def test_an_unknown_field_of_a_pod_is_warned_of_too(wire: Wire, place: str) -> None:
    pod = builders.pod("one")
    pod["metadata"]["namespace"] = place
    pod["spec"]["containers"][0]["comand"] = ["true"]

    answer = wire.send("POST", f"/api/v1/namespaces/{place}/pods?dryRun=All", pod)

    assert answer.headers["Warning"] == r'299 - "unknown field \"spec.containers[0].comand\""'


def test_server_side_apply_makes_then_changes(wire: Wire, place: str) -> None:
    path, kind = maps(place) + "/one?fieldManager=tests", "application/apply-patch+yaml"
    wish = b"apiVersion: v1\nkind: ConfigMap\ndata: {a: '1'}\n"

    made = wire.send("PATCH", path, wish, Content_Type=kind)
    changed = wire.send("PATCH", path, wish.replace(b"'1'", b"'2'"), Content_Type=kind)

    assert (made.status, changed.status) == (201, 200)
    assert changed.obj["data"] == {"a": "2"}
    assert changed.obj["metadata"]["managedFields"][0]["manager"] == "tests"


@pytest.mark.parametrize(
    ("query", "kind", "field"),
    [
        ("", "application/apply-patch+yaml", "fieldManager"),
        ("?force=true", MERGE, "force"),
        (f"?fieldManager={'x' * 129}", MERGE, "fieldManager"),
    ],
)
def test_options_of_an_apply_are_checked(wire: Wire, place: str, query: str, kind: str, field: str) -> None:
    wire.send("POST", maps(place), builders.some(CONFIG_MAP, "one", place))

    answer = wire.send(
        "PATCH", maps(place) + f"/one{query}", {"apiVersion": "v1", "kind": "ConfigMap"}, Content_Type=kind
    )

    assert answer.status == 422
    assert answer.obj["message"].startswith(f'PatchOptions.meta.k8s.io "" is invalid: {field}: ')


def test_a_writer_is_known_by_its_user_agent(wire: Wire, place: str) -> None:
    made = wire.send(
        "POST",
        maps(place),
        builders.some(CONFIG_MAP, "one", place, data={"a": "1"}),
        User_Agent="ctl/1.0 (x)",
    )

    assert made.obj["metadata"]["managedFields"][0]["manager"] == "ctl"
