"""What operators set for guests, in the KubeVirt object and in the ConfigMap that came before it."""

from typing import Any

import pytest

from diskyard.api.meta import CONFIG_MAP, KUBEVIRT, Obj
from diskyard.api.rules import instance
from diskyard.api.settings import READ, UNSET, Settings, advice, object_advice, settings
from tests import builders


def cr(**developer: Any) -> Obj:
    return {"spec": {"configuration": {"developerConfiguration": developer}}}


def old(**data: str) -> Obj:
    return builders.config_map(
        "kubevirt-config", **{key.replace("_", "-"): text for key, text in data.items()}
    )


@pytest.mark.parametrize(
    ("now", "before", "gates"),
    [
        (None, None, set()),
        (cr(featureGates=["HostDisk"]), None, {"HostDisk"}),
        (
            None,
            old(feature_gates="LiveMigration,DataVolumes, HostDisk"),
            {"LiveMigration", "DataVolumes", "HostDisk"},
        ),
        (cr(featureGates=[]), old(feature_gates="HostDisk"), set()),
        (cr(useEmulation=True), old(feature_gates="HostDisk"), {"HostDisk"}),
        (cr(featureGates=["HostDisk", "X"], disabledFeatureGates=["X"]), None, {"HostDisk"}),
    ],
)
def test_gates_come_from_the_object_else_from_the_config_map(
    now: Obj | None, before: Obj | None, gates: set[str]
) -> None:
    assert settings(now, before).gates == gates


@pytest.mark.parametrize(
    ("now", "before", "allowed"),
    [
        (None, None, False),
        (cr(useEmulation=True), None, True),
        (None, {"data": {"debug.useEmulation": "true"}}, True),
        (cr(useEmulation=False), {"data": {"debug.useEmulation": "true"}}, False),
        ({"spec": {}}, {"data": None}, False),
    ],
)
def test_emulation_is_what_the_object_says_else_the_config_map(
    now: Obj | None, before: Obj | None, allowed: bool
) -> None:
    assert settings(now, before).emulation is allowed


def test_what_the_operator_prefers_is_filled_in_where_a_guest_says_nothing() -> None:
    said = {"spec": {"configuration": {
        "machineType": "pc-q35-7.2", "cpuModel": "Nehalem", "network": {"defaultNetworkInterface": "masquerade"},
    }}}  # fmt: skip

    found = instance.defaults(builders.instance("vm"), settings(said, None))["spec"]

    assert found["domain"]["machine"]["type"] == "pc-q35-7.2"
    assert found["domain"]["cpu"]["model"] == "Nehalem"
    assert found["domain"]["devices"]["interfaces"] == [{"name": "default", "masquerade": {}}]


def host_disk(opened: Settings, **source: Any) -> list[str]:
    obj = builders.stored(builders.instance("vm", volumes=[{"name": "v", "hostDisk": source}]))
    obj["spec"]["domain"]["devices"]["disks"] = []
    return [cause.message for cause in instance.causes(instance.defaults(obj), None, opened)]


OPEN = Settings(gates=frozenset({"HostDisk"}))
HERE = "spec.volumes[0].hostDisk"


def test_a_closed_gate_names_both_ways_to_open_it() -> None:
    (said,) = host_disk(UNSET, path="/data/disk.img", type="Disk")

    assert "HostDisk feature gate is not enabled" in said
    assert "featureGates of KubeVirt kubevirt/kubevirt" in said
    assert "feature-gates in ConfigMap kubevirt/kubevirt-config" in said


@pytest.mark.parametrize(
    "source",
    [{"path": "/data/disk.img", "type": "Disk"}, {"path": "/d", "type": "DiskOrCreate", "capacity": "50Gi"}],
)
def test_a_disk_of_the_host_is_admitted_behind_an_open_gate(source: dict[str, str]) -> None:
    assert host_disk(OPEN, **source) == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"type": "Disk"}, f"{HERE}.path is required for hostDisk volume"),
        ({"path": "/", "type": "Disk"}, f"{HERE}.path must not point to root"),
        ({"path": "disk.img", "type": "Disk"},
         f"{HERE}.path must be an absolute path to a file without relative components"),
        ({"path": "/a/../b", "type": "Disk"},
         f"{HERE}.path must be an absolute path to a file without relative components"),
        ({"path": "/a", "type": "File"}, f"{HERE}.type has invalid value 'File', allowed are 'Disk' or 'DiskOrCreate'"),
        ({"path": "/a", "type": "Disk", "capacity": "1Gi"},
         f"{HERE}.capacity is allowed to pass only with {HERE}.type equal to 'DiskOrCreate'"),
        ({"path": "/a", "type": "DiskOrCreate"}, f"{HERE}.capacity is a required field"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_disk_of_the_host_is_said(source: dict[str, str], message: str) -> None:
    assert message in host_disk(OPEN, **source)


@pytest.mark.parametrize(
    ("now", "before", "labels"),
    [
        (None, None, {}),
        (cr(nodeSelectors={"disk": "ssd"}), old(node_selectors="disk=hdd"), {"disk": "ssd"}),
        (None, old(node_selectors="disk=hdd\nregion = primary\n"), {"disk": "hdd", "region": "primary"}),
        ({"spec": {"workloads": {"nodePlacement": {"nodeSelector": {"region": "primary"}}}}}, None,
         {"region": "primary"}),
    ],
)  # fmt: skip
def test_the_operator_says_on_which_nodes_guests_run(
    now: Obj | None, before: Obj | None, labels: dict[str, str]
) -> None:
    assert settings(now, before).nodes == labels


def test_the_operator_says_when_images_are_pulled_and_what_an_emptied_node_does() -> None:
    said = {"spec": {"imagePullPolicy": "Never", "configuration": {"evictionStrategy": "LiveMigrate"}}}

    found = settings(said, None)

    assert (found.pull_policy, found.eviction) == ("Never", "LiveMigrate")
    made = instance.defaults(builders.instance("vm"), found)["spec"]
    assert made["evictionStrategy"] == "LiveMigrate"
    own = instance.defaults(builders.instance("vm", evictionStrategy="None"), found)["spec"]
    assert own["evictionStrategy"] == "None"
    assert "evictionStrategy" not in instance.defaults(builders.instance("vm"))["spec"]


def test_where_bridges_are_not_permitted_that_is_said_and_masquerade_goes_on() -> None:
    said = {"spec": {"configuration": {"network": {"permitBridgeInterfaceOnPodNetwork": False}}}}
    found = settings(said, None)

    made = instance.defaults(builders.instance("vm"), found)
    refused = [cause.message for cause in instance.causes(made, None, found)]

    assert len(refused) == 1
    assert refused[0].startswith("Bridge on pod network configuration is not enabled under kubevirt-config")
    made["spec"]["domain"]["devices"]["interfaces"] = [{"name": "default", "masquerade": {}}]
    assert instance.causes(made, None, found) == ()


def test_who_writes_the_old_config_map_is_told_what_nobody_reads_and_what_took_its_place() -> None:
    """A-09."""
    migrations = 'parallelMigrationsPerCluster: "5"'
    data = {"debug.useEmulation": "true", "migrations": migrations, "wishes": "all"}

    told = advice(builders.some(CONFIG_MAP, "kubevirt-config", "kubevirt", data=data))

    assert len(told) == 2
    assert told[0].startswith("data.migrations is not read: spec.configuration.migrations of KubeVirt")
    assert told[1].startswith("data.wishes is no setting that anybody reads: feature-gates, ")
    assert advice(builders.some(CONFIG_MAP, "other", data=data)) == ()


def test_who_writes_a_kubevirt_is_told_what_of_it_nothing_follows() -> None:
    followed = {"machineType": "q35", "developerConfiguration": {"useEmulation": True}, "network": {}}
    kept = {"memBalloonStatsPeriod": 5, "developerConfiguration": {"cpuAllocationRatio": 1}}
    upstream = {
        "certificateRotateStrategy": {},
        "imagePullPolicy": "IfNotPresent",
        "workloadUpdateStrategy": {},
    }

    def told(spec: Obj, name: str = "kubevirt") -> tuple[str, ...]:
        return object_advice(builders.some(KUBEVIRT, name, "kubevirt", spec=spec))

    assert told({**upstream, "configuration": followed}) == ()
    assert told({"infra": {"replicas": 2}, "configuration": {**followed, **kept}}) == (
        "spec.infra is kept, and nothing follows it here",
        "spec.configuration.developerConfiguration.cpuAllocationRatio is kept, and nothing follows it here",
        "spec.configuration.memBalloonStatsPeriod is kept, and nothing follows it here",
    )
    (other,) = told({"infra": {"replicas": 2}}, "other")
    assert other.startswith("only KubeVirt kubevirt/kubevirt is followed")


@pytest.mark.parametrize("key", READ)
def test_every_key_that_is_said_to_be_read_changes_something(key: str) -> None:
    text = {"permitBridgeInterfaceOnPodNetwork": "false", "node-selectors": "a=b"}.get(key, "true")

    assert settings(None, {"data": {key: text}}) != UNSET
