"""What a yard does not do is refused plainly, as a server refuses what it does not have."""

import pytest

from tests.standalone.wire.conftest import Wire

POD = "/api/v1/namespaces/default/pods/one"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{POD}/exec?command=ls"),
        ("POST", f"{POD}/attach"),
        ("POST", f"{POD}/portforward"),
        ("GET", "/apis/apps/v1/namespaces/default/deployments"),
        ("POST", "/apis/apps/v1/namespaces/default/deployments"),
        ("GET", "/apis/batch/v1/namespaces/default/jobs"),
        ("GET", "/apis/metrics.k8s.io/v1beta1/nodes"),
    ],
    ids=["exec, cp", "attach", "port-forward", "get deployments", "a new deployment", "jobs", "top"],
)
def test_is_not_here(wire: Wire, method: str, path: str) -> None:
    answer = wire.send(method, path, {} if method == "POST" else None)

    assert answer.status == 404
    assert (answer.obj["kind"], answer.obj["status"], answer.obj["reason"]) == (
        "Status",
        "Failure",
        "NotFound",
    )


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("apps/v1/namespaces/default/deployments", "pods alone"),
        ("batch/v1/namespaces/default/jobs", "pods alone"),
        (
            "autoscaling/v2/namespaces/default/horizontalpodautoscalers",
            "kubectl scale vmirs/NAME --replicas=N",
        ),
    ],
)
def test_what_a_whole_cluster_has_is_refused_with_the_reason(wire: Wire, place: str, why: str) -> None:
    assert why in wire.send("POST", f"/apis/{place}", {}).obj["message"]


@pytest.mark.parametrize("group", ["kubevirt.io", "cdi.kubevirt.io"])
def test_an_old_version_is_not_here_and_those_that_are_are_named(wire: Wire, group: str) -> None:
    """B-03."""
    said = wire.get(f"/apis/{group}/v1alpha2/namespaces/my-namespace/virtualmachineinstances/my-vm")

    known = {"kubevirt.io": "v1, v1alpha3", "cdi.kubevirt.io": "v1beta1, v1alpha1"}[group]
    assert said.status == 404
    assert f"{group} is served as {known}, not as v1alpha2" in said.obj["message"]
