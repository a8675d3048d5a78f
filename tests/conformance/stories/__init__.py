"""What clients do, as short stories of requests: told to every server, and the answers compared field by field.

A story is a sentence and its requests, in a namespace of its own (PLACE). `recorded/` has what a real kube-apiserver
answered; `python -m tests.conformance.record` tells the stories to one and writes that anew.
"""

from collections.abc import Mapping
from typing import Any

from tests.conformance.exchange import APPLY, JSON_PATCH, MERGE, STRATEGIC, TABLE, Request

Story = tuple[Request, ...]
Stories = Mapping[str, Story]

MAPS = "/api/v1/namespaces/PLACE/configmaps"
SECRETS = "/api/v1/namespaces/PLACE/secrets"
CLAIMS = "/api/v1/namespaces/PLACE/persistentvolumeclaims"
PODS = "/api/v1/namespaces/PLACE/pods"
SERVICES = "/api/v1/namespaces/PLACE/services"
WIDGETS = "/apis/tests.example/v1/namespaces/PLACE/widgets"
DISKS = "/apis/cdi.kubevirt.io/v1beta1/namespaces/PLACE/datavolumes"


def get(path: str, **headers: str) -> Request:
    """Read."""
    return Request("GET", path, headers=_named(headers))


def table(path: str) -> Request:
    """Read as kubectl does."""
    return Request("GET", path, headers={"Accept": f"{TABLE},application/json"})


def post(path: str, body: Any, **headers: str) -> Request:
    """Create."""
    return Request("POST", path, body, _named(headers))


def put(path: str, body: Any, **headers: str) -> Request:
    """Replace."""
    return Request("PUT", path, body, _named(headers))


def delete(path: str, body: Any = None) -> Request:
    """Delete, with DeleteOptions where there are any."""
    return Request("DELETE", path, body)


def merge(path: str, body: Any) -> Request:
    """Change, by a merge patch."""
    return Request("PATCH", path, body, {"Content-Type": MERGE})


def strategic(path: str, body: Any) -> Request:
    """Change, by a strategic merge patch."""
    return Request("PATCH", path, body, {"Content-Type": STRATEGIC})


def operations(path: str, *body: Any) -> Request:
    """Change, by a JSON patch."""
    return Request("PATCH", path, list(body), {"Content-Type": JSON_PATCH})


def apply(path: str, body: Any, author: str = "ann", *, force: bool = False) -> Request:
    """Apply on the server's side."""
    query = f"?fieldManager={author}" + ("&force=true" if force else "")
    return Request("PATCH", path + query, body, {"Content-Type": APPLY})


def config_map(name: str, **fields: Any) -> dict[str, Any]:
    """A ConfigMap; `metadata` adds to its metadata."""
    return _object("v1", "ConfigMap", name, fields)


def widget(name: str, **fields: Any) -> dict[str, Any]:
    """An object of the kind that `widgets.yaml` defines for these tests."""
    return _object("tests.example/v1", "Widget", name, fields)


def claim(name: str, **spec: Any) -> dict[str, Any]:
    """A PersistentVolumeClaim."""
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec}
    return _object("v1", "PersistentVolumeClaim", name, {"spec": wanted})


def pod(name: str, **spec: Any) -> dict[str, Any]:
    """A Pod with one container, without a token."""
    wanted = {
        "containers": [{"name": "main", "image": "diskyard:1"}],
        "automountServiceAccountToken": False,
        **spec,
    }
    return _object("v1", "Pod", name, {"spec": wanted})


def disk(name: str, **spec: Any) -> dict[str, Any]:
    """A DataVolume."""
    wanted = {"source": {"blank": {}}, "storage": {"resources": {"requests": {"storage": "1Gi"}}}, **spec}
    return _object("cdi.kubevirt.io/v1beta1", "DataVolume", name, {"spec": wanted})


def _object(version: str, kind: str, name: str, fields: dict[str, Any]) -> dict[str, Any]:
    rest = {field: value for field, value in fields.items() if field != "metadata"}
    metadata = {**({"name": name} if name else {}), **fields.get("metadata", {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
