"""Binding: a pod is given to a node, once. Pure.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/binding-v1/
"""

from typing import Final

from diskyard.api import meta
from diskyard.api.meta import POD, Obj
from diskyard.errors import Cause, Conflict
from standalone.store import answers

SUBRESOURCE: Final = "binding"
DONE: Final[Obj] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def bound(pod: Obj, wish: Obj, now: str) -> Obj:
    """The pod on the node that a Binding names. Raises Conflict, Invalid."""
    name, target = meta.name(pod), wish.get("target") or {}
    node = str(target.get("name") or "")
    if not node or target.get("kind") not in (None, "", "Node"):
        cause = Cause("Required value", "target.name", "FieldValueRequired")
        raise answers.invalid(POD, name, [cause])
    if meta.deleting(pod):
        raise _refused(name, f"pod {name} is being deleted, cannot be assigned to a host")
    if there := meta.spec(pod).get("nodeName"):
        raise _refused(name, f'pod {name} is already assigned to node "{there}"')
    scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now}
    others = [one for one in meta.status(pod).get("conditions") or () if one.get("type") != scheduled["type"]]
    said = meta.meta(wish)
    held = {field: said[field] for field in ("uid", "resourceVersion") if said.get(field)}
    return {
        **pod,
        "metadata": {
            **pod["metadata"],
            "annotations": {**meta.annotations(pod), **meta.annotations(wish)},
            **held,
        },
        "spec": {**meta.spec(pod), "nodeName": node},
        "status": {**meta.status(pod), "conditions": [*others, scheduled]},
    }


def _refused(name: str, why: str) -> Conflict:
    return Conflict(
        f'Operation cannot be fulfilled on pods/binding "{name}": {why}',
        details={"name": name, "kind": "pods/binding"},
    )
