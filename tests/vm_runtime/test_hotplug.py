"""addvolume and removevolume: what changes in a machine's template, and KubeVirt's words for what cannot."""

from typing import Any

import pytest

from diskyard.api.meta import Obj
from diskyard.errors import BadRequest, Conflict
from diskyard.kube.reconcile import Merge
from tests.vm_runtime.test_subresources import instance, machine
from vm_runtime.controller import hotplug
from vm_runtime.controller.subresources import World, world

MORE = {
    "name": "more",
    "disk": {"name": "more", "disk": {"bus": "scsi"}, "serial": "s"},
    "volumeSource": {"dataVolume": {"name": "claim"}},
}


def stopped() -> World:
    return world(machine("Halted"), None)


def template(actions: tuple[Any, ...]) -> Obj:
    (merge,) = actions
    assert isinstance(merge, Merge)
    found: Obj = merge.patch["spec"]["template"]["spec"]
    return found


def names(found: Obj) -> tuple[list[str], list[str]]:
    disks = found["domain"]["devices"]["disks"]
    return [each["name"] for each in found["volumes"]], [each["name"] for each in disks]


def test_a_volume_and_its_disk_are_added_to_those_that_are_there() -> None:
    found = template(hotplug.add(stopped(), MORE))

    volumes, disks = names(found)
    assert (volumes[-1], disks[-1]) == ("more", "more")
    assert len(volumes) > 1
    assert found["volumes"][-1] == {"name": "more", "dataVolume": {"name": "claim"}}
    assert found["domain"]["devices"]["disks"][-1]["serial"] == "s"


def test_a_volume_is_removed_with_its_disk_and_the_others_stay() -> None:
    before = stopped()
    first = before.obj["spec"]["template"]["spec"]["volumes"][0]["name"]

    volumes, disks = names(template(hotplug.remove(before, {"name": first})))

    assert first not in [*volumes, *disks]


@pytest.mark.parametrize("field", ["name", "disk", "volumeSource"])
def test_what_is_missing_is_named(field: str) -> None:
    with pytest.raises(BadRequest, match=f"AddVolumeOptions requires {field} to be set"):
        hotplug.add(stopped(), {key: value for key, value in MORE.items() if key != field})


def test_a_name_that_is_taken_and_one_that_is_not_there_are_refused() -> None:
    first = stopped().obj["spec"]["template"]["spec"]["volumes"][0]["name"]

    with pytest.raises(
        Conflict, match=r"Unable to add volume \[.*\] because volume with that name already exists"
    ):
        hotplug.add(stopped(), {**MORE, "name": first})
    with pytest.raises(Conflict, match=r"Unable to remove volume \[none\] because it does not exist"):
        hotplug.remove(stopped(), {"name": "none"})


def test_a_guest_that_runs_is_left_alone_and_that_is_said() -> None:
    running = world(machine("Always"), instance("Running"))

    with pytest.raises(Conflict, match="stop the machine first"):
        hotplug.add(running, MORE)
