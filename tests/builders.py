"""Objects as tests need them: complete enough for the server, only what a test says made explicit."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import NAMESPACE_URL, uuid5

from diskyard.api import meta
from diskyard.api.meta import (
    CLAIM,
    CONFIG_MAP,
    DATA_VOLUME,
    INSTANCE,
    MACHINE,
    NAMESPACE,
    POD,
    SECRET,
    STORAGE_CLASS,
    VOLUME,
    Kind,
    Obj,
)
from diskyard.errors import NotFound

T = TypeVar("T")


def eventually(check: Callable[[], T], seconds: float = 60) -> T:
    """What `check` returns as soon as that is true; fails with its last answer after the deadline.

    A check may use `assert` itself, or ask for an object that nobody has made yet: its last such error is
    then the failure.
    """
    deadline = time.monotonic() + seconds
    while True:
        late = time.monotonic() > deadline
        try:
            found = check()
        except (AssertionError, NotFound):
            if late:
                raise
        else:
            if found:
                return found
            assert not late, f"after {seconds} s still {found!r}"
        time.sleep(0.02)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """What happens inside takes no longer than that where nobody else wants a processor, and so much longer where
    others do: each waits for its turn, several times on the way. Thrice in any case: another test runs beside.
    """
    begun = time.monotonic()
    yield
    spent = time.monotonic() - begun
    crowd = 3 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert spent <= seconds * crowd, f"it took {spent:.1f} s, {crowd:.1f} times {seconds:.0f} s were allowed"


def some(kind: Kind, name: str, namespace: str = "default", **fields: Any) -> Obj:
    """An object of any kind; `metadata` adds to its metadata, other fields stand at the top."""
    place = {"namespace": namespace} if kind.namespaced else {}
    metadata = {"name": name, **place, **fields.pop("metadata", {})}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **fields}


def namespace(name: str) -> Obj:
    """A Namespace."""
    return some(NAMESPACE, name)


def data_volume(name: str, url: str = "http://images.example/disk.qcow2", **spec: Any) -> Obj:
    """A DataVolume from a URL into 1Gi; `spec` overrides fields of its spec."""
    wanted = {
        "source": {"http": {"url": url}},
        "storage": {"resources": {"requests": {"storage": "1Gi"}}},
        **spec,
    }
    return some(DATA_VOLUME, name, spec=wanted)


def claim(name: str, size: str = "1Gi", **spec: Any) -> Obj:
    """A PersistentVolumeClaim; `spec` overrides fields of its spec."""
    wanted = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
        **spec,
    }
    return some(CLAIM, name, spec=wanted)


def volume(name: str, size: str = "1Gi", **spec: Any) -> Obj:
    """A PersistentVolume on a local path; `spec` overrides fields of its spec."""
    wanted = {
        "capacity": {"storage": size},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": f"/volumes/{name}"},
        **spec,
    }
    return some(VOLUME, name, spec=wanted)


def storage_class(name: str, mode: str = "Immediate", **fields: Any) -> Obj:
    """A StorageClass of the yard."""
    return some(
        STORAGE_CLASS,
        name,
        provisioner="diskyard.io/local",
        volumeBindingMode=mode,
        reclaimPolicy="Delete",
        **fields,
    )


def pod(name: str, *command: str, **spec: Any) -> Obj:
    """A Pod with one container; `spec` overrides fields of its spec."""
    container = {"name": "main", "image": "diskyard", "command": list(command or ("true",))}
    return some(POD, name, spec={"containers": [container], **spec})


def machine(name: str, **spec: Any) -> Obj:
    """A VirtualMachine with one disk from the claim `disk`; `spec` overrides fields of its spec."""
    return some(
        MACHINE, name, spec={"runStrategy": "Always", "template": {"spec": instance(name)["spec"]}, **spec}
    )


def instance(name: str, **spec: Any) -> Obj:
    """A VirtualMachineInstance with one disk from the claim `disk`; `spec` overrides fields of its spec."""
    wanted = {
        "domain": {
            "devices": {"disks": [{"name": "root", "disk": {"bus": "virtio"}}]},
            "resources": {"requests": {"memory": "128Mi"}},
        },
        "volumes": [{"name": "root", "persistentVolumeClaim": {"claimName": "disk"}}],
        **spec,
    }
    return some(INSTANCE, name, spec=wanted)


def secret(name: str, **entries: str) -> Obj:
    """A Secret."""
    return some(SECRET, name, stringData=entries)


def config_map(name: str, **entries: str) -> Obj:
    """A ConfigMap."""
    return some(CONFIG_MAP, name, data=entries)


def stored(obj: Obj, uid: str = "", **metadata: Any) -> Obj:
    """The object as if a server had stored it: with a uid, a time and a resourceVersion. For pure functions."""
    name = meta.name(obj)
    identity = {
        "uid": uid or str(uuid5(NAMESPACE_URL, name)),
        "creationTimestamp": "2026-11-21T12:00:00Z",
        "resourceVersion": "1",
        "generation": 1,
    }
    return {**obj, "metadata": {**obj["metadata"], **identity, **metadata}}
