"""Our CRDs: what a real API server demands of them, and that they agree with each other and with our kinds."""

from collections.abc import Iterator
from typing import Any

import pytest

from diskyard import crds
from diskyard.api import meta
from diskyard.api.meta import OUR_KINDS, SNAPSHOT_KINDS, Kind, Obj

DEFINITIONS = {obj["spec"]["names"]["kind"]: obj for obj in (*crds.definitions(), *crds.snapshots())}


def schema(kind: str) -> Obj:
    found: Obj = DEFINITIONS[kind]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def nodes(node: Obj, path: str = "") -> Iterator[tuple[str, Obj]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if isinstance(node.get(name), dict):
            yield from nodes(node[name], f"{path}[]")


def at(node: Obj, path: str) -> Any:
    for name in path.split("."):
        node = node["items"] if name == "[]" else node["properties"][name]
    return node


@pytest.mark.parametrize("kind", OUR_KINDS + SNAPSHOT_KINDS, ids=str)
def test_a_definition_is_that_of_our_kind(kind: Kind) -> None:
    definition = DEFINITIONS[kind.kind]
    spec, names = definition["spec"], definition["spec"]["names"]

    assert meta.name(definition) == kind.resource
    assert (spec["group"], names["plural"], names["singular"]) == (kind.group, kind.plural, kind.singular)
    assert spec["scope"] == ("Namespaced" if kind.namespaced else "Cluster")
    assert [version["name"] for version in spec["versions"]] == [kind.version, *kind.older]
    assert [version["storage"] for version in spec["versions"]] == [True, *[False for _ in kind.older]]
    assert set(kind.short) <= set(names.get("shortNames", ()))
    assert tuple(names.get("categories", ())) == kind.categories


@pytest.mark.parametrize("kind", sorted(DEFINITIONS))
def test_a_schema_is_structural_and_speaks_of_every_field(kind: str) -> None:
    for path, node in nodes(schema(kind)):
        assert node.get("type") or node.get("x-kubernetes-int-or-string"), path
        assert node.get("type") != "array" or "items" in node, path
        assert not ({"properties", "additionalProperties"} <= set(node)), path
        assert set(node.get("required", ())) <= set(node.get("properties", ())), path
        if "metadata" not in path and "[]" not in path:
            assert node.get("description"), path


@pytest.mark.parametrize("kind", ["VirtualMachine", "VirtualMachineInstanceReplicaSet"])
def test_a_template_is_an_instance(kind: str) -> None:
    assert at(schema(kind), "spec.template.spec") == at(schema("VirtualMachineInstance"), "spec")


def test_a_machines_data_volumes_are_data_volumes() -> None:
    assert at(schema("VirtualMachine"), "spec.dataVolumeTemplates.[].spec") == at(
        schema("DataVolume"), "spec"
    )


def test_what_we_do_not_know_of_a_guest_is_kept() -> None:
    spec = at(schema("VirtualMachineInstance"), "spec")

    for path in (
        "domain",
        "domain.devices",
        "domain.devices.disks.[]",
        "volumes.[]",
        "networks.[]",
        "domain.cpu",
    ):
        assert at(spec, path)["x-kubernetes-preserve-unknown-fields"] is True, path
