"""An upload proxy before a real cluster, with the account that the chart gives it, and the operator's word on where."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from datavolume_controller.program import TOKENS
from diskyard.api import meta
from diskyard.api.meta import API_SERVICE, CDI, CDI_CONFIG, Key
from diskyard.kube.http import connect
from diskyard.web import server, tls
from tests.builders import eventually
from tests.cluster.server import LOCALHOST, Cluster
from tests.flows.cluster import kubeconfig
from uploadproxy import proxy
from uploadproxy.trust import Trust


@contextmanager
def proxied(real: Cluster, folder: Path) -> Iterator[None]:
    """Serve uploads, and tokens in every version, for as long as a block lasts."""
    folder.mkdir()
    now = datetime.now(UTC)
    context = tls.context(tls.server(tls.authority(folder, "proxy", now), folder, [LOCALHOST], now))
    with closing(connect(kubeconfig(real, "cdi-uploadproxy", folder))) as client:
        running = server.start(proxy.application(Trust(client)), server.Place(LOCALHOST, 0, context))
        try:
            said = {"spec": {"config": {"uploadProxyURLOverride": running.url}}}
            real.client.patch(CDI, Key("cdi"), said)
            eventually(lambda: _told(real) == running.url, 60)
            for name in TOKENS:
                eventually(lambda name=name: _available(real, name), 120)
            yield
        finally:
            running.stop()


def _told(real: Cluster) -> str:
    return str((real.client.get(CDI_CONFIG, Key("config")).get("status") or {}).get("uploadProxyURL"))


def _available(real: Cluster, name: str) -> bool:
    said = meta.condition(real.client.get(API_SERVICE, Key(name)), "Available") or {}
    assert said.get("status") == "True", said
    return True
