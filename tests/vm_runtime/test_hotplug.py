"""addvolume and removevolume: what changes in a template or an instance, and KubeVirt's words for what cannot."""

import copy
from typing import Any

import pytest

from diskyard.api.meta import INSTANCE, Obj
from diskyard.api.names import kubevirt
from diskyard.api.rules.instance import causes, defaults
from diskyard.errors import BadRequest, Conflict
from diskyard.kube.reconcile import Merge
from tests.vm_runtime.test_subresources import instance, machine
from vm_runtime.controller import hotplug, restart
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
    assert found["volumes"][-1] == {"name": "more", "dataVolume": {"name": "claim", "hotpluggable": True}}
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


def test_a_volume_that_was_there_from_the_start_stays_while_the_guest_runs() -> None:
    running = world(machine("Always"), instance("Running"))
    first = running.obj["spec"]["template"]["spec"]["volumes"][0]["name"]

    with pytest.raises(Conflict, match="because it is not hotpluggable: stop the guest first"):
        hotplug.remove(running, {"name": first})


def grown(obj: Obj, **changes: Any) -> Obj:
    """An instance to which a volume has come."""
    (merge,) = hotplug.add_to_instance(obj, {**MORE, **changes})
    assert isinstance(merge, Merge)
    spec = {**obj["spec"], "volumes": merge.patch["spec"]["volumes"]}
    domain = obj["spec"]["domain"]
    devices = {**domain["devices"], **merge.patch["spec"]["domain"]["devices"]}
    return {**obj, "spec": {**spec, "domain": {**domain, "devices": devices}}}


def test_an_instance_follows_what_comes_and_goes_in_its_machines_template() -> None:
    before = defaults({**instance("Running"), "metadata": {"name": "vm", "namespace": "default"}})
    more, template = grown(before), machine("Always")["spec"]["template"]
    wider = {"spec": {**template["spec"], **template_patch()}}

    assert hotplug.followed(template, before) is None
    assert names(patched(hotplug.followed(wider, before))) == names(more["spec"])
    assert hotplug.followed(wider, more) is None
    assert names(patched(hotplug.followed(template, more))) == names(before["spec"])


def template_patch() -> Obj:
    """A template's lists with one more volume."""
    return template(hotplug.add(stopped(), MORE))


def patched(merge: Merge | None) -> Obj:
    assert merge
    found: Obj = merge.patch["spec"]
    return found


def test_of_an_instance_only_what_comes_and_goes_may_change() -> None:
    before = defaults({**instance("Running"), "metadata": {"name": "vm", "namespace": "default"}})
    more = grown(before)
    other = grown(before, volumeSource={"dataVolume": {"name": "other"}})
    emptied = {**before, "spec": {**before["spec"], "volumes": []}}

    assert causes(more, before) == ()
    assert causes(before, more) == ()
    assert [each.message for each in causes(other, more)] == ["hotplug volume more, changed"]
    assert "update of VMI object is restricted" in [each.message for each in causes(emptied, before)]


def test_what_comes_is_a_disk_on_a_bus_that_takes_it() -> None:
    before = defaults({**instance("Running"), "metadata": {"name": "vm", "namespace": "default"}})

    (cause,) = causes(grown(before, disk={"disk": {"bus": "sata"}}), before)

    assert "requires bus to be 'scsi' or 'virtio'. [sata] is not permitted." in cause.message
    assert not causes(grown(before, disk={"disk": {"bus": "virtio"}}), before)


DRIVE = {"name": "more", "cdrom": {}}
DISC = {**MORE, "disk": DRIVE}


def driven(obj: Obj) -> Obj:
    """A machine, or an instance, with an empty drive."""
    found = copy.deepcopy(obj)
    spec = found["spec"].get("template", found)["spec"]
    spec["domain"]["devices"]["disks"].append(DRIVE)
    return defaults(found) if found["kind"] == INSTANCE.kind else found


def test_a_disc_goes_into_the_drive_of_its_name_and_leaves_it_behind() -> None:
    there = driven({**instance("Running"), "metadata": {"name": "vm", "namespace": "default"}})
    template = driven(machine("Always"))["spec"]["template"]
    volumes = [
        *template["spec"]["volumes"],
        {"name": "more", "dataVolume": {"name": "a", "hotpluggable": True}},
    ]
    wider = {"spec": {**template["spec"], "volumes": volumes}}

    assert causes(there, None) == ()
    filled = patched(hotplug.followed(wider, there))
    assert names(filled)[0][-1] == "more"
    assert names(filled)[1] == names(there["spec"])[1]
    there["spec"]["volumes"] = filled["volumes"]
    assert names(patched(hotplug.followed(template, there))) == names(driven(there_without(there))["spec"])


def there_without(obj: Obj) -> Obj:
    """The instance as it was before."""
    found = copy.deepcopy(obj)
    found["spec"]["volumes"].pop()
    found["spec"]["domain"]["devices"]["disks"].pop()
    return found


def test_another_disc_comes_when_the_one_before_has_gone() -> None:
    there = driven({**instance("Running"), "metadata": {"name": "vm", "namespace": "default"}})
    template = driven(machine("Always"))["spec"]["template"]
    root = template["spec"]["volumes"]
    there["spec"]["volumes"] = [*root, {"name": "more", "dataVolume": {"name": "a", "hotpluggable": True}}]
    other = {"spec": {**template["spec"], "volumes": [
        *root, {"name": "more", "dataVolume": {"name": "b", "hotpluggable": True}},
    ]}}  # fmt: skip

    there["spec"]["volumes"] = patched(hotplug.followed(other, there))["volumes"]
    assert there["spec"]["volumes"] == root
    there["status"]["volumeStatus"] = [{"name": "more", "phase": "Detaching"}]
    assert hotplug.followed(other, there) is None
    there["status"]["volumeStatus"] = []
    assert patched(hotplug.followed(other, there))["volumes"] == other["spec"]["volumes"]


def test_a_disc_that_comes_asks_for_no_restart_and_a_drive_that_goes_does() -> None:
    template = driven(machine("Always"))["spec"]["template"]
    disc = {"name": "more", "dataVolume": {"name": "a", "hotpluggable": True}}
    filled = {"spec": {**template["spec"], "volumes": [*template["spec"]["volumes"], disc]}}
    made = {"metadata": {"annotations": {kubevirt.TEMPLATE: restart.print_of(template)}}}

    assert restart.required(filled, made) == ()
    assert restart.required(machine("Always")["spec"]["template"], made) == (restart.REQUIRED,)


def test_a_disc_for_a_running_guest_without_that_drive_is_refused_with_the_way_out() -> None:
    running = world(machine("Always"), instance("Running"))

    with pytest.raises(Conflict, match="because the guest has no drive of that name, it has none: a cdrom"):
        hotplug.add(running, DISC)


def test_a_machines_guest_takes_volumes_from_its_machine_alone() -> None:
    owned = {**instance("Running"), "metadata": {
        "name": "vm", "namespace": "default", "ownerReferences": [{"kind": "VirtualMachine", "controller": True}],
    }}  # fmt: skip

    with pytest.raises(Conflict, match="VMI default/vm is owned by a VM"):
        hotplug.add_to_instance(owned, MORE)
