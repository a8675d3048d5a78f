"""Where a Service leads is told as a real Kubernetes tells it."""

import itertools
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from diskyard.api import meta
from diskyard.api.meta import ENDPOINT_SLICE, ENDPOINTS, NODE, POD, SERVICE, Key, Obj
from diskyard.errors import NotFound
from diskyard.kube.client import Client, Selection
from tests import builders
from tests.builders import eventually
from tests.conformance.chapters import place
from tests.conformance.exchange import Line

PORTS = [{"name": "web", "port": 80, "targetPort": 8080}, {"name": "named", "port": 81, "targetPort": "http"}]
_numbers = itertools.count(1)


@pytest.fixture
def node(line: Line) -> Iterator[str]:
    """A node; a real controller leads to no pod of a node that is not there."""
    name = f"here-{os.getpid()}-{next(_numbers)}"
    line.server.client.create(NODE, builders.some(NODE, name))
    yield name
    line.server.client.delete(NODE, Key(name))


def service(client: Client, where: str, **spec: Any) -> None:
    wanted = {"clusterIP": "None", "selector": {"app": "demo"}, "ports": PORTS, **spec}
    client.create(SERVICE, builders.some(SERVICE, "web", where, metadata={"labels": {"a": "b"}}, spec=wanted))


def pod(client: Client, key: Key, node: str, **status: Any) -> None:
    made = builders.pod(key.name, nodeName=node, automountServiceAccountToken=False)
    made["metadata"] |= {"namespace": key.namespace, "labels": {"app": "demo"}}
    made["spec"]["containers"][0]["ports"] = status.pop("ports", [{"containerPort": 1}])
    client.create(POD, made)
    ready = [{"type": "Ready", "status": status.pop("ready", "True")}]
    told = {"phase": "Running", "podIPs": [{"ip": status["podIP"]}], "conditions": ready, **status}
    client.patch(POD, key, {"status": told}, "status")


def addresses(found: list[Obj] | None) -> list[str]:
    return [one["ip"] for one in found or ()]


def endpoints(client: Client, where: str) -> list[tuple[list[str], list[str], list[int]]]:
    """Who is ready, who is not, at which ports."""
    with suppress(NotFound):
        told = client.get(ENDPOINTS, Key("web", where)).get("subsets") or ()
        return sorted(
            (
                addresses(one.get("addresses")),
                addresses(one.get("notReadyAddresses")),
                [port["port"] for port in one["ports"]],
            )
            for one in told
        )
    return []


def slices(client: Client, where: str) -> list[tuple[list[int], list[tuple[str, bool]]]]:
    """Ports, and who is behind them and ready."""
    selection = Selection(where, labels="kubernetes.io/service-name=web")
    return sorted(
        (
            sorted(port["port"] for port in one.get("ports") or ()),
            sorted(
                (each["addresses"][0], each["conditions"]["ready"]) for each in one.get("endpoints") or ()
            ),
        )
        for one in client.list(ENDPOINT_SLICE, selection).items
    )


def test_pods_are_told_with_their_ports_and_whether_they_are_ready(line: Line, node: str) -> None:
    client, where = line.server.client, place(line)
    service(client, where)
    pod(client, Key("a", where), node, podIP="10.1.0.1")
    pod(client, Key("b", where), node, podIP="10.1.0.2", ports=[{"name": "http", "containerPort": 9090}])
    pod(client, Key("c", where), node, podIP="10.1.0.3", ready="False")
    pod(client, Key("d", where), node, podIP="10.1.0.4", phase="Succeeded")

    told = [(["10.1.0.1", "10.1.0.2"], ["10.1.0.3"], [8080]), (["10.1.0.2"], [], [9090])]
    eventually(lambda: endpoints(client, where) == told, 60)
    kept = [([8080], [("10.1.0.1", True), ("10.1.0.3", False)]), ([8080, 9090], [("10.1.0.2", True)])]
    eventually(lambda: [one for one in slices(client, where) if one[0]] == kept, 60)

    client.delete(POD, Key("b", where))
    client.patch(
        POD, Key("c", where), {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, "status"
    )
    told = [(["10.1.0.1", "10.1.0.3"], [], [8080])]
    eventually(lambda: endpoints(client, where) == told, 60)


def test_what_is_told_is_marked_as_whose_it_is_and_goes_with_the_service(line: Line) -> None:
    client, where = line.server.client, place(line)
    service(client, where)

    def slice_() -> Obj | None:
        return next(iter(client.list(ENDPOINT_SLICE, Selection(where)).items), None)

    made = eventually(slice_, 60)
    eventually(lambda: client.list(ENDPOINTS, Selection(where)).items, 60)
    labels = meta.labels(client.get(ENDPOINTS, Key("web", where)))
    client.delete(SERVICE, Key("web", where))

    assert made is not None
    assert meta.labels(made) == {
        "a": "b",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "kubernetes.io/service-name": "web",
        "service.kubernetes.io/headless": "",
    }
    assert labels["endpoints.kubernetes.io/managed-by"] == "endpoint-controller"
    assert (meta.controller_of(made) or {})["name"] == "web"
    eventually(lambda: not client.list(ENDPOINTS, Selection(where)).items, 60)
    eventually(lambda: slice_() is None, 60)


def test_a_service_without_a_selector_is_its_makers_own(line: Line) -> None:
    client, where = line.server.client, place(line)
    own = [{"addresses": [{"ip": "10.1.0.9"}], "ports": [{"port": 8080}]}]
    service(client, where, selector=None)
    client.create(ENDPOINTS, builders.some(ENDPOINTS, "web", where, subsets=own))
    client.create(
        SERVICE,
        builders.some(
            SERVICE, "other", where, spec={"clusterIP": "None", "selector": {"a": "b"}, "ports": PORTS}
        ),
    )
    eventually(lambda: len(client.list(ENDPOINTS, Selection(where)).items) == 2, 60)

    assert addresses(client.get(ENDPOINTS, Key("web", where))["subsets"][0]["addresses"]) == ["10.1.0.9"]
