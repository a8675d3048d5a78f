"""The roles and bindings that CDI and KubeVirt bring, under their names, for the same people. Pure.

And those of snapshots, which kubernetes-csi leaves to who installs it: whoever edits a namespace takes them there.
"""

from typing import Final

from diskyard.api.meta import Obj
from diskyard.api.names import cdi
from diskyard.api.names.snapshot import GROUP
from diskyard.api.user import AUTHENTICATED, UNAUTHENTICATED
from standalone.access.builtin import READ, WRITE, binding, role, rule
from standalone.access.rbac import ANY, Rule

_UPLOAD: Final = "upload.cdi.kubevirt.io"
_FORKLIFT: Final = "forklift.cdi.kubevirt.io"
_KUBEVIRT: Final = "kubevirt.io"
_DOORS: Final = "subresources.kubevirt.io"
_DISKS: Final = (
    "datavolumes", "dataimportcrons", "datasources", "volumeimportsources", "volumeuploadsources",
    "volumeclonesources",
)  # fmt: skip
_POPULATORS: Final = ("ovirtvolumepopulators", "openstackvolumepopulators")
_CONFIGS: Final = ("cdiconfigs", "storageprofiles")
_MACHINES: Final = (
    "virtualmachines", "virtualmachineinstances", "virtualmachineinstancepresets", "virtualmachineinstancereplicasets",
)  # fmt: skip
_MIGRATIONS: Final = ("virtualmachineinstancemigrations",)
_REACHED: Final = tuple(
    f"virtualmachineinstances/{part}"
    for part in (
        "console", "vnc", "vnc/screenshot", "portforward", "guestosinfo", "filesystemlist", "userlist", "usbredir",
    )
)  # fmt: skip
_SEEN: Final = ("guestosinfo", "filesystemlist", "userlist")
_CHANGED: Final = tuple(
    f"virtualmachineinstances/{part}"
    for part in (
        "pause", "unpause", "addvolume", "removevolume", "freeze", "unfreeze", "softreboot", "reset",
    )
) + tuple(
    f"virtualmachines/{part}"
    for part in ("start", "stop", "restart", "addvolume", "removevolume", "memorydump")
)  # fmt: skip
_GROUPS: Final = {
    "snapshot.kubevirt.io": (
        "virtualmachinesnapshots", "virtualmachinesnapshotcontents", "virtualmachinerestores",
    ),
    "export.kubevirt.io": ("virtualmachineexports",),
    "clone.kubevirt.io": ("virtualmachineclones",),
    "instancetype.kubevirt.io": (
        "virtualmachineinstancetypes", "virtualmachineclusterinstancetypes", "virtualmachinepreferences",
        "virtualmachineclusterpreferences",
    ),
    "pool.kubevirt.io": ("virtualmachinepools",),
}  # fmt: skip


def roles() -> list[Obj]:
    """The ClusterRoles."""
    return [
        role("cdi.kubevirt.io:admin", _FILL, joins="admin"),
        role("cdi.kubevirt.io:edit", _FILL, joins="edit"),
        role("cdi.kubevirt.io:view", _LOOK, joins="view"),
        role("cdi.kubevirt.io:config-reader", [rule(cdi.GROUP, _CONFIGS, READ)]),
        role("cdi.kubevirt.io:clone-sourcer", [rule(cdi.GROUP, ["datavolumes/source"], ["create"])]),
        role("kubevirt.io:admin", _run((*WRITE, *READ)), joins="admin"),
        role("kubevirt.io:edit", _run((*(v for v in WRITE if v != "deletecollection"), *READ)), joins="edit"),
        role("kubevirt.io:view", _WATCH, joins="view"),
        role("kubevirt.io:migrate", _MIGRATE),
        role("snapshot.storage.k8s.io:edit", [rule(GROUP, ["volumesnapshots"], WRITE)], joins="edit"),
        role("snapshot.storage.k8s.io:view", _SNAPSHOTS_SEEN, joins="view"),
        role("kubevirt.io:default", _DEFAULT),
    ]


def bindings() -> list[Obj]:
    """The ClusterRoleBindings."""
    return [
        binding("cdi.kubevirt.io:config-reader", AUTHENTICATED),
        binding("kubevirt.io:default", AUTHENTICATED, UNAUTHENTICATED),
    ]


def _run(verbs: tuple[str, ...]) -> list[Rule]:
    return [
        rule(_DOORS, (*_REACHED, "virtualmachines/expand-spec", "virtualmachines/portforward"), ["get"]),
        rule(_DOORS, (*_CHANGED, "expand-vm-spec"), ["update"]),
        rule(_KUBEVIRT, _MACHINES, verbs),
        rule(_KUBEVIRT, _MIGRATIONS, READ),
        rule(_KUBEVIRT, ["kubevirts"], ["get", "list"]),
        *(rule(group, resources, verbs) for group, resources in _GROUPS.items()),
    ]


_FILL: Final = (
    rule(cdi.GROUP, _DISKS, [ANY]),
    rule(cdi.GROUP, ["datavolumes/source"], ["create"]),
    rule(_UPLOAD, ["uploadtokenrequests"], [ANY]),
    rule(_FORKLIFT, _POPULATORS, [ANY]),
)
_LOOK: Final = (
    rule(cdi.GROUP, (*_DISKS, *_CONFIGS, "objecttransfers"), READ),
    rule(_FORKLIFT, _POPULATORS, READ),
)
_WATCH: Final = (
    rule(
        _DOORS,
        (*(f"virtualmachineinstances/{part}" for part in _SEEN), "virtualmachines/expand-spec"),
        ["get"],
    ),
    rule(_DOORS, ["expand-vm-spec"], ["update"]),
    rule(_KUBEVIRT, (*_MACHINES, *_MIGRATIONS), READ),
    rule(_KUBEVIRT, ["kubevirts"], ["get", "list"]),
    *(rule(group, resources, READ) for group, resources in _GROUPS.items()),
)
_MIGRATE: Final = (
    rule(_DOORS, ["virtualmachines/migrate"], ["update"]),
    rule(_KUBEVIRT, _MIGRATIONS, (*WRITE, *READ)),
)
_SNAPSHOTS_SEEN: Final = (rule(GROUP, ["volumesnapshots", "volumesnapshotclasses"], READ),)
_DEFAULT: Final = (rule(_DOORS, ["version", "guestfs"], ["get", "list"]),)
