"""Uploads on a real cluster: the token from our aggregated API, the proxy with the account that the chart gives it."""

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from diskyard.api import meta
from diskyard.api.meta import API_SERVICE, CDI, CDI_CONFIG, UPLOAD_TOKEN, Key
from diskyard.errors import Forbidden
from diskyard.kube.http import connect
from diskyard.web import server, tls
from tests.builders import eventually
from tests.cluster.server import LOCALHOST, STRANGER, Cluster
from tests.flows.cluster import kubeconfig
from tests.flows.place import Place
from tests.flows.test_upload import holds, token, uploaded
from uploadproxy import proxy
from uploadproxy.trust import Trust

pytestmark = pytest.mark.cluster
TOKENS = Key("v1beta1.upload.cdi.kubevirt.io")


@pytest.fixture(scope="module")
def proxied(real: Cluster, cluster: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The cluster with an upload proxy, and the operator's word on where it is."""
    folder, now = tmp_path_factory.mktemp("proxy"), datetime.now(UTC)
    context = tls.context(tls.server(tls.authority(folder, "proxy", now), folder, [LOCALHOST], now))
    with closing(connect(kubeconfig(real, "cdi-uploadproxy", folder))) as client:
        running = server.start(proxy.application(Trust(client)), server.Place(LOCALHOST, 0, context))
        said = {"spec": {"config": {"uploadProxyURLOverride": running.url}}}
        real.client.patch(CDI, Key("cdi"), said)
        try:
            eventually(lambda: _told(real) == running.url, 60)
            eventually(lambda: _available(real), 120)
            yield cluster
        finally:
            running.stop()


def _told(real: Cluster) -> str:
    return str((real.client.get(CDI_CONFIG, Key("config")).get("status") or {}).get("uploadProxyURL"))


def _available(real: Cluster) -> bool:
    said = meta.condition(real.client.get(API_SERVICE, TOKENS), "Available") or {}
    assert said.get("status") == "True", said
    return True


def test_an_image_is_uploaded_from_the_command_line(proxied: Place, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(os.urandom(10 << 20))

    done = uploaded(proxied, "pvc", "sent", f"--image-path={image}", "--size=64Mi", "--insecure")

    assert done.returncode == 0, done.stderr
    assert holds(proxied, "sent", image)


def test_a_token_is_given_to_who_may_ask_for_it(real: Cluster, proxied: Place) -> None:
    assert token(proxied, "any").count(".") == 2
    with closing(connect(real.kubeconfig_for(STRANGER))) as stranger, pytest.raises(Forbidden):
        stranger.create(
            UPLOAD_TOKEN, {"metadata": {"name": "t", "namespace": "default"}, "spec": {"pvcName": "any"}}
        )
