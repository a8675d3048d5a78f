"""What Kubernetes' built-in admission writes into new pods and Services: nobody owns these fields. Pure.

Plugins ServiceAccount, Priority and DefaultTolerationSeconds, and the family of addresses.
"""

from collections.abc import Mapping
from typing import Any, Final

from diskyard.api.meta import Obj
from diskyard.api.names import kubernetes

_NOT_FOREVER: Final = (kubernetes.NOT_READY, kubernetes.UNREACHABLE)
_SECONDS: Final = 300


def pod(spec: Obj) -> Obj:
    """The spec with an account, a priority, and how long it stays on a node that is lost."""
    name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    tolerations = list(spec.get("tolerations") or ())
    for key in _NOT_FOREVER:
        if not any(_tolerates(one, key) for one in tolerations):
            lost = {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _SECONDS}
            tolerations.append(lost)
    return {
        **spec,
        "serviceAccountName": name,
        "serviceAccount": name,
        "priority": spec.get("priority", 0),
        "preemptionPolicy": spec.get("preemptionPolicy", "PreemptLowerPriority"),
        "tolerations": tolerations,
    }


def service(spec: Obj) -> Obj:
    """The spec with its addresses named twice, and their family."""
    if spec.get("type") == "ExternalName":
        return spec
    address = spec.get("clusterIP")
    own = {"clusterIPs": spec.get("clusterIPs") or [address]} if address else {}
    return {**spec, **own, "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}


def _tolerates(toleration: Mapping[str, Any], key: str) -> bool:
    return toleration.get("key") in (key, "", None) and toleration.get("effect") in ("NoExecute", "", None)
