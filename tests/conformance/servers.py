"""The servers that are held to one another: ours as `diskyard up` serves it, and a real kube-apiserver.

Both know the same kinds: Diskyard's own, and the widgets of these tests.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

from diskyard import crds
from diskyard.api import meta
from diskyard.api.meta import CRD, Key, Obj
from diskyard.errors import AlreadyExists
from diskyard.kube.client import Client
from diskyard.kube.controller import Controllers
from standalone.access.accounts import DefaultAccounts
from standalone.access.aggregates import Aggregates
from standalone.access.roots import RootCertificates
from standalone.collect import Collector
from standalone.endpoints import ServiceEndpoints
from tests.builders import eventually
from tests.cluster.server import Cluster
from tests.conformance import differences
from tests.conformance.exchange import Server
from tests.served import served

WIDGETS = Path(__file__).with_name("widgets.yaml")


@contextmanager
def ours(folder: Path) -> Iterator[Server]:
    """Our server, with the controllers that every Kubernetes has."""
    with served(folder) as yard:
        collector = Collector(yard.store)
        roots = RootCertificates(yard.authority.read_text())
        controllers = Controllers(yard.store, [Aggregates(), DefaultAccounts(), roots, ServiceEndpoints()])
        collector.start()
        controllers.start()
        try:
            yield _ready(
                Server(yard.url, yard.token, yard.authority, yard.kubeconfig, yard.client, differences.apart)
            )
        finally:
            controllers.stop()
            collector.close()


def theirs(cluster: Cluster) -> Server:
    """A real server."""
    return _ready(Server(cluster.url, cluster.token, cluster.authority, cluster.kubeconfig, cluster.client))


def _ready(server: Server) -> Server:
    """The server, once it serves the kinds of these tests."""
    for crd in (*crds.definitions(), *crds.snapshots(), yaml.safe_load(WIDGETS.read_text())):
        _define(server.client, crd)
    return server


def _define(client: Client, crd: Obj) -> None:
    with suppress(AlreadyExists):
        client.create(CRD, crd)

    def established() -> bool:
        conditions = meta.status(client.get(CRD, Key(meta.name(crd)))).get("conditions") or ()
        return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)

    eventually(established, 60)
