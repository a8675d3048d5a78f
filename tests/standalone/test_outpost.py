"""The yard's node and storage serve an API server that they reach over the network, and know nothing else of it."""

import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from diskyard.api import meta
from diskyard.api.meta import (
    CLAIM,
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    CONFIG_MAP,
    LEASE,
    NAMESPACE,
    NODE,
    POD,
    STORAGE_CLASS,
    VOLUME,
    Key,
    Obj,
)
from diskyard.api.names import kubernetes
from diskyard.errors import InvalidRequest, Passing, ServerError
from diskyard.web.tls import Pair
from standalone.admission import Rules
from standalone.directory import Directory
from standalone.outpost import CLIENTS, Outpost, Post
from standalone.wire.ports import Port
from tests import builders
from tests.builders import eventually, some
from tests.flows.yard import disconnect
from tests.outer import outer
from tests.served import Yard, served
from tests.standalone.node.yard import python, shell

MOUNT = {"volumeMounts": [{"name": "d", "mountPath": "/data"}]}
VOLUMES = [{"name": "d", "persistentVolumeClaim": {"claimName": "disk"}}]
WAITING = "import time; print('up'); time.sleep(1000)"


def name(common: str, *organizations: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    return x509.Name([*parts, *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, one) for one in organizations)])


class Authority:
    """The cluster's authority for its clients."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = name("clients")
        self.pem = (
            self._signed(self.name, self.key, ca=True).public_bytes(serialization.Encoding.PEM).decode()
        )

    def client(self, common: str, *organizations: str) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        pair = Pair(self.folder / f"{common}.crt", self.folder / f"{common}.key")
        found = self._signed(name(common, *organizations), key)
        pair.certificate.write_bytes(found.public_bytes(serialization.Encoding.PEM))
        plain = serialization.NoEncryption()
        pair.key.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        )
        return pair

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, ca: bool = False
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        draft = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name)
        draft = draft.public_key(key.public_key()).serial_number(x509.random_serial_number())
        draft = draft.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
        draft = draft.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        return draft.sign(self.key, hashes.SHA256())


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Yard]:
    with served(tmp_path, rules=Rules()) as yard:
        yield yard


@pytest.fixture
def authority(tmp_path: Path, cluster: Yard) -> Authority:
    found = Authority(tmp_path)
    entries = {"data": {"client-ca-file": found.pem}}
    cluster.store.create(CONFIG_MAP, some(CONFIG_MAP, CLIENTS.name, CLIENTS.namespace, **entries))
    return found


@pytest.fixture
def outpost(tmp_path: Path, cluster: Yard, authority: Authority) -> Iterator[Outpost]:
    with ExitStack() as stack:
        yield opened(tmp_path, cluster, stack)


def opened(folder: Path, cluster: Yard, stack: ExitStack) -> Outpost:
    """An outpost that leaves no process behind."""
    found = stack.enter_context(
        Outpost.open(Directory(folder / "node"), Post(cluster.kubeconfig, "far", port=0), print)
    )
    stack.callback(found.stop_pods)
    return found


def until(cluster: Yard, pod: str, phase: str) -> Obj:
    def reached() -> Obj:
        found = cluster.store.get(POD, Key(pod, "default"))
        assert meta.phase(found) == phase, meta.status(found)
        return found

    return eventually(reached, 60)


def fetched(outpost: Outpost, path: str, pair: Pair | None) -> tuple[int, str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # as an API server without --kubelet-certificate-authority
    if pair:
        context.load_cert_chain(pair.certificate, pair.key)
    try:
        url = f"https://{outpost.address}:{outpost.port}{path}"
        with urllib.request.urlopen(url, context=context, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_registers_and_runs_a_pod_with_a_claim_of_its_class(cluster: Yard, outpost: Outpost) -> None:
    cluster.store.create(CLAIM, builders.claim("disk", "1Mi", storageClassName="local"))
    cluster.store.create(POD, shell("one", "echo bytes > /data/disk.img", container=MOUNT, volumes=VOLUMES))

    pod = until(cluster, "one", "Succeeded")

    claim = cluster.store.get(CLAIM, Key("disk", "default"))
    volume = cluster.store.get(VOLUME, Key(meta.spec(claim)["volumeName"]))
    disk = Path(meta.spec(volume)["local"]["path"]) / "disk.img"
    assert (meta.spec(pod)["nodeName"], disk.read_text()) == ("far", "bytes\n")
    node = cluster.store.get(NODE, Key("far"))
    assert meta.holds(node, "Ready")
    assert meta.status(node)["daemonEndpoints"]["kubeletEndpoint"]["Port"] == outpost.port


def test_makes_its_classes_and_none_the_default(cluster: Yard, outpost: Outpost) -> None:
    classes = cluster.store.list(STORAGE_CLASS).items

    assert {meta.name(each) for each in classes} == {"local", "local-wait"}
    assert not any(meta.annotations(each) for each in classes)


def test_logs_are_for_those_whom_the_cluster_lets_read_them(
    cluster: Yard, outpost: Outpost, authority: Authority
) -> None:
    rules = [{"apiGroups": [""], "resources": ["nodes/proxy"], "verbs": ["get"]}]
    cluster.store.create(CLUSTER_ROLE, some(CLUSTER_ROLE, "reads", rules=rules))
    subjects = [{"kind": "User", "name": "apiserver", "apiGroup": "rbac.authorization.k8s.io"}]
    ref = {"kind": "ClusterRole", "name": "reads", "apiGroup": "rbac.authorization.k8s.io"}
    binding = some(CLUSTER_ROLE_BINDING, "reads", subjects=subjects, roleRef=ref)
    cluster.store.create(CLUSTER_ROLE_BINDING, binding)
    cluster.store.create(POD, shell("one", "echo first; echo second"))
    until(cluster, "one", "Succeeded")
    path = "/containerLogs/default/one/main"

    allowed = fetched(outpost, path + "?tailLines=1", authority.client("apiserver"))
    refused = fetched(outpost, path, authority.client("someone", "system:masters-not"))

    assert allowed == (200, "second\n")
    assert refused == (403, "Forbidden (user=someone, verb=get, resource=nodes, subresource=proxy)")


def test_without_a_certificate_of_the_cluster_nobody_is_let_in(outpost: Outpost, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other").client("apiserver", "system:masters")

    for pair in (None, stranger):
        with pytest.raises((ssl.SSLError, urllib.error.URLError, ConnectionError)):
            fetched(outpost, "/healthz", pair)


def test_renews_a_lease_where_a_cluster_keeps_them(
    tmp_path: Path, cluster: Yard, authority: Authority
) -> None:
    cluster.store.create(NAMESPACE, some(NAMESPACE, "kube-node-lease"))

    with ExitStack() as stack:
        opened(tmp_path, cluster, stack)

        lease = cluster.store.get(LEASE, Key("far", "kube-node-lease"))
    assert meta.spec(lease)["holderIdentity"] == "far"


def test_where_a_scheduler_is_at_work_pods_wait_for_it(cluster: Yard, outpost: Outpost) -> None:
    now = datetime.now(UTC) + timedelta(hours=1)
    spec = {"holderIdentity": "someone", "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
    cluster.store.create(LEASE, some(LEASE, "kube-scheduler", "kube-system", spec=spec))
    cluster.store.create(POD, shell("one", "true"))
    cluster.store.create(POD, shell("two", "true", nodeName="far"))

    until(cluster, "two", "Succeeded")

    assert not meta.spec(cluster.store.get(POD, Key("one", "default"))).get("nodeName")


def test_pods_go_on_while_nobody_serves_and_are_found_again(
    tmp_path: Path, cluster: Yard, authority: Authority
) -> None:
    with Outpost.open(Directory(tmp_path / "node"), Post(cluster.kubeconfig, "far", port=0), print):
        cluster.store.create(POD, python("one", WAITING))
        until(cluster, "one", "Running")

    with ExitStack() as stack:
        opened(tmp_path, cluster, stack)
        pod = until(cluster, "one", "Running")

        assert meta.status(pod)["containerStatuses"][0]["restartCount"] == 0


ECHO = """
import socket
with socket.create_server(("0.0.0.0", 7000)) as listening:
    print("up", flush=True)
    while True:
        came, _ = listening.accept()
        with came:
            came.sendall(came.recv(64).upper())
"""


def test_guests_have_addresses_of_the_network_that_its_operator_names(tmp_path: Path) -> None:
    with outer(tmp_path), ExitStack() as stack:
        cluster = stack.enter_context(served(tmp_path, rules=Rules()))
        directory = Directory(tmp_path / "node")
        stack.callback(disconnect, directory.path)
        post = Post(cluster.kubeconfig, "far", port=0, subnet=IPv4Network("10.99.8.0/24"))
        outpost = stack.enter_context(Outpost.open(directory, post, print))
        stack.callback(outpost.stop_pods)
        tun = {"resources": {"limits": {kubernetes.TUN_DEVICE: "1"}}}
        cluster.store.create(POD, python("guest", ECHO, container=tun, nodeName="far"))
        pod = until(cluster, "guest", "Running")
        uid = meta.uid(pod)

        assert ip_address(meta.status(pod)["podIP"]) in IPv4Network("10.99.8.0/24")
        assert eventually(lambda: said(outpost, uid, b"hello"), 60) == b"HELLO"
        with pytest.raises(ServerError, match=r"dialing VM: dial tcp 10\.99\.8\..*:7001: Connection refused"):
            outpost.guests.port(uid, Port(7001))
        with pytest.raises(Passing, match="the guest has no address on its node"):
            outpost.guests.port("0000", Port(7000))


def said(outpost: Outpost, uid: str, words: bytes) -> bytes:
    """What the pod answers at its port."""
    try:
        with outpost.guests.port(uid, Port(7000)) as way:
            way.settimeout(60)
            way.sendall(words)
            return way.recv(64)
    except ServerError as error:
        raise AssertionError(f"it does not listen yet: {error}") from error


def test_a_data_directory_belongs_to_one_cluster(tmp_path: Path, cluster: Yard, authority: Authority) -> None:
    place = Directory(tmp_path / "node")
    with Outpost.open(place, Post(cluster.kubeconfig, "far", port=0), print):
        pass
    (tmp_path / "second").mkdir()

    with (
        served(tmp_path / "second") as other,
        pytest.raises(InvalidRequest, match="holds pods and volumes of another cluster"),
    ):
        Outpost.open(place, Post(other.kubeconfig, "far", port=0), print)
