"""Uploads on a real cluster: the token from our aggregated API, the proxy with the account that the chart gives it."""

import base64
import gzip
import hashlib
import io
import os
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests

from diskyard.api import meta
from diskyard.api.meta import CDI, CDI_CONFIG, EVENT, POD, SERVICE, UPLOAD_TOKEN, Key, Kind
from diskyard.errors import Forbidden
from diskyard.kube.client import Selection
from diskyard.kube.http import connect
from tests.builders import eventually
from tests.cluster.helm import rendered
from tests.cluster.server import STRANGER, Cluster
from tests.flows.cluster import apply
from tests.flows.place import Place
from tests.flows.test_upload import Reached, holds, reached, token, uploaded
from tests.flows.yard import data_volume

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("uploads")]
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments", namespaced=True)
PROXY = Key("cdi-uploadproxy", "cdi")
NOWHERE = "https://127.0.0.1:1"
Sent = Callable[[str, str, bytes], requests.Response]


@pytest.fixture(scope="module")
def proxy(uploading: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reached]:
    with reached(uploading, tmp_path_factory.mktemp("client") / "ca.crt") as found:
        found.verify = False
        yield found


@pytest.fixture
def sent(uploading: Place, proxy: Reached) -> Sent:
    """Make a DataVolume and post a body to a path of CDI's."""

    def post(name: str, path: str, body: bytes) -> requests.Response:
        content = {"contentType": "archive"} if name == "files" else {}
        uploading.create(data_volume(name, {"upload": {}}, **content))
        uploading.wait("datavolumes", name, "UploadReady", 120)
        bearer = {"Authorization": f"Bearer {token(uploading, name)}"}
        return proxy.post(f"{proxy.url}{path}", data=body, headers=bearer, timeout=120)

    return post


@pytest.fixture
def charted(real: Cluster, uploading: Place) -> Iterator[None]:
    """The chart's own proxy, in a pod, and an operator who says of it what is wrong."""
    ours = {each["kind"]: each for each in rendered() if meta.key(each) == PROXY}
    (container,) = ours["Deployment"]["spec"]["template"]["spec"]["containers"]
    host, port = real.url.removeprefix("https://").split(":")
    container["env"] = [
        {"name": "KUBERNETES_SERVICE_HOST", "value": host},
        {"name": "KUBERNETES_SERVICE_PORT", "value": port},
        {"name": "LISTEN_ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
    if Path(sys.prefix).is_relative_to("/tmp"):  # no volume may hide the programs of this node
        (tmp,) = (each for each in container["volumeMounts"] if each["mountPath"] == "/tmp")
        tmp["mountPath"] = "/scratch"
        container["env"].append({"name": "TMPDIR", "value": "/scratch"})
    apply(real, [ours["Deployment"], ours["Service"]])
    before = str(real.client.get(CDI_CONFIG, Key("config"))["status"]["uploadProxyURL"])
    tell(real, NOWHERE)
    try:
        eventually(lambda: stands(real), 120)
        yield
    finally:
        tell(real, before)
        for kind in (DEPLOYMENT, SERVICE):
            real.client.delete(kind, PROXY)


def stands(real: Cluster) -> bool:
    """Whether the Deployment's pod is ready; what is in its way else."""
    deployment = real.client.get(DEPLOYMENT, PROXY)
    if meta.status(deployment).get("readyReplicas"):
        return True
    chosen = Selection(PROXY.namespace, labels=f"app.kubernetes.io/name={PROXY.name}")
    told = [each.get("message") for each in real.client.list(EVENT, Selection(PROXY.namespace)).items]
    pods = [meta.status(each) for each in real.client.list(POD, chosen).items]
    raise AssertionError(f"{meta.status(deployment)}\n{pods}\n{told[-20:]}")


def tell(real: Cluster, url: str) -> None:
    """Have the operator say where the proxy is."""
    real.client.patch(CDI, Key("cdi"), {"spec": {"config": {"uploadProxyURLOverride": url}}})
    eventually(lambda: real.client.get(CDI_CONFIG, Key("config"))["status"].get("uploadProxyURL") == url, 60)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize(
    "path", ["/v1beta1/upload", "/v1beta1/upload-async", "/v1alpha1/upload", "/v1alpha1/upload-async"]
)
def test_cdis_own_requests_fill_a_data_volume(
    uploading: Place, sent: Sent, tmp_path: Path, path: str
) -> None:
    image, name = tmp_path / "disk.img", path[1:].replace("/", "-")
    image.write_bytes(os.urandom(10 << 20))

    answer = sent(name, path, gzip.compress(image.read_bytes(), 1))

    assert answer.status_code == 200, answer.text
    uploading.wait("datavolumes", name, "Succeeded", 120)
    assert holds(uploading, name, image)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_an_archive_is_unpacked(uploading: Place, sent: Sent) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("a.txt")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"one"))

    answer = sent("files", "/v1beta1/upload", packed.getvalue())

    assert answer.status_code == 200, answer.text
    uploading.wait("datavolumes", "files", "Succeeded", 120)
    assert (uploading.volume("files") / "a.txt").read_text() == "one"


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_what_is_refused_stands_on_the_data_volume(uploading: Place, sent: Sent) -> None:
    answer = sent("page", "/v1beta1/upload", b"<!DOCTYPE html><html></html>" * 100)

    assert answer.status_code == 500
    uploading.until("datavolumes", "page", lambda dv: "is a web page" in str(dv["status"]["conditions"]), 60)


def test_an_image_is_uploaded_from_the_command_line(uploading: Place, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(os.urandom(10 << 20))
    digest = hashlib.sha256(image.read_bytes()).hexdigest()

    done = uploaded(
        uploading, "pvc", "sent", f"--image-path={image}", "--size=64Mi", "--insecure", f"--checksum=sha256:{digest}"
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert holds(uploading, "sent", image)


@pytest.mark.usefixtures("charted")
def test_where_nothing_else_is_reached_the_command_goes_through_the_api_server(
    uploading: Place, tmp_path: Path
) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(os.urandom(20 << 20))

    done = uploaded(uploading, "dv", "forwarded", f"--image-path={image}", "--size=64Mi")

    assert done.returncode == 0, done.stderr
    assert f"{NOWHERE}: [Errno 111] Connection refused" in done.stderr
    assert "going by a port-forward of the API server" in done.stderr
    assert holds(uploading, "forwarded", image)


@pytest.mark.parametrize("version", ["v1beta1", "v1alpha1"])
def test_a_token_is_given_to_who_may_ask_for_it(real: Cluster, uploading: Place, version: str) -> None:
    head, *rest = token(uploading, "any", version).split(".")
    assert b"PS256" in base64.urlsafe_b64decode(head + "==")
    assert len(rest) == 2
    with closing(connect(real.kubeconfig_for(STRANGER))) as stranger, pytest.raises(Forbidden):
        stranger.create(
            UPLOAD_TOKEN, {"metadata": {"name": "t", "namespace": "default"}, "spec": {"pvcName": "any"}}
        )
