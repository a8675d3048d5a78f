"""What is in every yard from its first moment: namespaces, CDI, CDIConfig, KubeVirt.

What is there already stays as it is: a restart never takes back what a user changed.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import CDI, CDI_CONFIG, KUBEVIRT, NAMESPACE, SERVICE_ACCOUNT, Key, Kind, Obj
from diskyard.api.names import cdi, kubevirt
from diskyard.errors import AlreadyExists
from diskyard.kube.client import Client
from standalone.node import heartbeat

NAMESPACES: Final = ("default", "kube-system", heartbeat.LEASES, cdi.NAMESPACE, kubevirt.NAMESPACE)


def seed(client: Client, more: Iterable[tuple[Kind, Obj]] = ()) -> bool:
    """Make what is missing, and `more` (storage classes, say) after it; whether this is a yard's first start."""
    made = set()
    for kind, obj in (*_objects(), *more):
        with suppress(AlreadyExists):
            client.create(kind, obj)
            made.add(kind)
    _keep_images(client)
    return KUBEVIRT in made


def _keep_images(client: Client) -> None:
    """Say that this yard's node keeps images, where nobody has said anything of it."""
    key = Key(cdi.CONFIG_NAME)
    if cdi.IMAGE_STORE not in meta.annotations(client.get(CDI_CONFIG, key)):
        client.patch(CDI_CONFIG, key, {"metadata": {"annotations": {cdi.IMAGE_STORE: "true"}}})


def _objects() -> Iterable[tuple[Kind, Obj]]:
    for name in NAMESPACES:
        yield NAMESPACE, _object(NAMESPACE, name)
        yield SERVICE_ACCOUNT, _object(SERVICE_ACCOUNT, "default", name)
    gates = {"featureGates": [cdi.WAIT_GATE]}
    yield CDI, _object(CDI, cdi.CDI_NAME) | {"spec": {"config": gates}}
    yield CDI_CONFIG, _object(CDI_CONFIG, cdi.CONFIG_NAME) | {"spec": gates}
    yield KUBEVIRT, _object(KUBEVIRT, kubevirt.CR_NAME, kubevirt.NAMESPACE) | {"spec": {"configuration": {}}}


def _object(kind: Kind, name: str, namespace: str = "") -> Obj:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
