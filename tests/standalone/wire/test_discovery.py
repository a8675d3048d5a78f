"""What a client learns about the server before it asks for objects."""

import json
import re

import pytest

from tests.standalone.wire.conftest import Wire

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/version"])
def test_anyone_may_ask_whether_the_server_lives(wire: Wire, path: str) -> None:
    assert wire.send("GET", path, Authorization="").status == 200


@pytest.mark.parametrize("path", ["/api", "/apis", "/openapi/v3", "/api/v1/secrets", "/nothing", "/healthz"])
def test_a_wrong_token_is_told_nothing(wire: Wire, path: str) -> None:
    tokens = ("wrong", "\xff\xfe", "a.b.c", "x" * 60_000)

    answers = [wire.send("GET", path, Authorization=f"Bearer {token}") for token in tokens]

    assert [answer.status for answer in answers] == [401] * len(tokens)
    assert {(answer.obj["reason"], answer.obj["message"]) for answer in answers} == {("Unauthorized",) * 2}


@pytest.mark.parametrize("credentials", ["", "Bearer ", "Basic YTpi"])
@pytest.mark.parametrize("path", ["/api", "/apis", "/openapi/v3", "/nothing", "/readyz/ping"])
def test_whoever_shows_no_token_is_anonymous_and_may_nothing(wire: Wire, path: str, credentials: str) -> None:
    answer = wire.send("GET", path, Authorization=credentials)

    assert answer.status == 403
    assert answer.obj["message"] == f'forbidden: User "system:anonymous" cannot get path "{path}"'


def test_every_group_is_listed_with_its_versions(wire: Wire) -> None:
    groups = {group["name"]: group for group in wire.get("/apis").obj["groups"]}

    assert [v["version"] for v in groups["cdi.kubevirt.io"]["versions"]] == ["v1beta1", "v1alpha1"]
    assert groups["kubevirt.io"]["preferredVersion"]["groupVersion"] == "kubevirt.io/v1"
    assert wire.get("/apis/kubevirt.io").obj == groups["kubevirt.io"] | {"kind": "APIGroup"}


def test_a_version_lists_its_resources_with_their_subresources(wire: Wire) -> None:
    found = {one["name"]: one for one in wire.get("/apis/cdi.kubevirt.io/v1beta1").obj["resources"]}

    assert found["datavolumes"]["shortNames"] == ["dv", "dvs"]
    assert found["datavolumes"]["categories"] == ["all"]
    assert found["datavolumes"]["namespaced"] is True
    assert found["datavolumes/status"]["verbs"] == ["get", "patch", "update"]
    assert "cdiconfigs/status" not in found
    assert "pods/log" in {one["name"] for one in wire.get("/api/v1").obj["resources"]}


def test_all_of_it_comes_in_one_answer_when_asked_so(wire: Wire) -> None:
    core, rest = wire.get("/api", AGGREGATED), wire.get("/apis", AGGREGATED)

    assert "as=APIGroupDiscoveryList" in rest.headers["Content-Type"]
    assert core.obj["apiVersion"] == "apidiscovery.k8s.io/v2"
    assert next(r["resource"] for r in core.obj["items"][0]["versions"][0]["resources"]) == "namespaces"
    names = [item["metadata"]["name"] for item in rest.obj["items"]]
    assert {"cdi.kubevirt.io", "kubevirt.io", "storage.k8s.io"} < set(names)


def test_schemas_are_served_for_every_version(wire: Wire) -> None:
    paths = wire.get("/openapi/v3").obj["paths"]

    document = wire.get(paths["apis/cdi.kubevirt.io/v1beta1"]["serverRelativeURL"]).obj

    volume = document["components"]["schemas"]["io.kubevirt.cdi.v1beta1.DataVolume"]
    assert volume["properties"]["spec"]["properties"]["source"]["properties"]["http"]["required"] == ["url"]
    patch = document["paths"]["/apis/cdi.kubevirt.io/v1beta1/namespaces/{namespace}/datavolumes/{name}"][
        "patch"
    ]
    assert "fieldValidation" in [parameter["name"] for parameter in patch["parameters"]]
    assert {"api/v1", "apis/kubevirt.io/v1alpha3"} < set(paths)


@pytest.mark.parametrize(
    "path", ["/foo", "/apis/no.such", "/apis/no.such/v1/things",
             "/apis/kubevirt.io/v1/namespaces/default/virtualmachines/a/start"],
)  # fmt: skip
def test_a_path_to_nowhere_is_said_in_kubernetes_words(wire: Wire, path: str) -> None:
    answer = wire.get(path)

    assert answer.status == 404
    assert answer.obj["message"] == "the server could not find the requested resource"
    assert answer.obj["details"]["causes"][0]["reason"] == "UnexpectedServerResponse"


@pytest.mark.parametrize("path", ["/apis/cdi.kubevirt.io/v2", "/apis/cdi.kubevirt.io/v2/datavolumes",
                                  "/openapi/v3/apis/cdi.kubevirt.io/v2"])  # fmt: skip
def test_a_version_that_is_not_served_is_told_which_are(wire: Wire, path: str) -> None:
    answer = wire.get(path)

    assert answer.status == 404
    assert answer.obj["message"].endswith("cdi.kubevirt.io is served as v1beta1, v1alpha1, not as v2")


def test_the_administrator_may_do_everything(wire: Wire) -> None:
    review = {"spec": {"resourceAttributes": {"verb": "delete", "resource": "pods"}}}

    answer = wire.send("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)

    assert answer.status == 201
    assert answer.obj["status"]["allowed"] is True


def test_the_schemas_of_kubernetes_own_kinds_are_told(wire: Wire) -> None:
    document = wire.get("/openapi/v3/api/v1").obj

    pod = document["components"]["schemas"]["io.k8s.api.core.v1.Pod"]["properties"]
    container = pod["spec"]["properties"]["containers"]["items"]["properties"]
    assert container["image"]["type"] == "string"
    assert pod["spec"]["properties"]["containers"]["x-kubernetes-list-map-keys"] == ["name"]


def test_the_older_form_has_every_schema_in_one_document(wire: Wire) -> None:
    document = wire.get("/openapi/v2").obj

    volume = document["definitions"]["io.kubevirt.cdi.v1beta1.DataVolume"]
    assert volume["properties"]["metadata"]["allOf"][0]["$ref"].startswith("#/definitions/")
    assert volume["x-kubernetes-group-version-kind"][0]["kind"] == "DataVolume"
    assert "nullable" not in str(document)


def test_every_path_that_is_served_is_described(wire: Wire) -> None:
    core = wire.get("/openapi/v3/api/v1").obj["paths"]
    volumes = wire.get("/openapi/v3/apis/cdi.kubevirt.io/v1beta1").obj["paths"]
    questions = wire.get("/openapi/v3/apis/authorization.k8s.io/v1").obj["paths"]

    pod = "/api/v1/namespaces/{namespace}/pods/{name}"
    assert {f"{pod}/log", f"{pod}/status", f"{pod}/binding", "/api/v1/pods"} < set(core)
    assert "/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token" in core
    every = volumes["/apis/cdi.kubevirt.io/v1beta1/datavolumes"]["get"]
    assert every["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith(
        "DataVolumeList"
    )
    assert "sendInitialEvents" in [parameter["name"] for parameter in every["parameters"]]
    assert "post" in questions["/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"]


@pytest.mark.parametrize(
    "path", ["/openapi/v2", "/openapi/v3/api/v1", "/openapi/v3/apis/kubevirt.io/v1alpha3"]
)
def test_every_reference_leads_somewhere(wire: Wire, path: str) -> None:
    raw = wire.get(path).raw.decode()

    document = json.loads(raw)
    known = document.get("definitions") or document["components"]["schemas"]
    referred = {found.rpartition("/")[2] for found in re.findall(r'"\$ref":"([^"]+)"', raw)}
    assert referred <= set(known)


def test_openapi_v2_is_told_as_protobuf_to_those_who_ask_for_it(wire: Wire) -> None:
    accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"

    answer = wire.get("/openapi/v2", accept)

    assert answer.headers["Content-Type"] == accept.replace("@", ".")
    assert answer.raw.startswith(b"\x0a\x032.0")
    assert b"io.k8s.api.core.v1.Pod" in answer.raw
    assert b"x-kubernetes-patch-merge-key" in answer.raw


@pytest.mark.parametrize("version", ["v1beta1", "v1alpha1"])
def test_requests_for_upload_tokens_are_described_and_never_there(wire: Wire, version: str) -> None:
    group = f"/apis/upload.cdi.kubevirt.io/{version}"
    said = wire.get(f"/openapi/v3{group}").obj["components"]["schemas"]

    schema = next(each for name, each in said.items() if name.endswith("UploadTokenRequest"))
    looked = wire.send("GET", f"{group}/namespaces/default/uploadtokenrequests/one")

    assert schema["properties"]["spec"]["properties"]["pvcName"]["type"] == "string"
    assert looked.status == 404  # kubectl apply makes it then
