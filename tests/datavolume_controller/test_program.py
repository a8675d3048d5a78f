"""The program as a cluster runs it: finds its server, serves, leads, hands over, ends."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from kubernetes.client import Configuration

from datavolume_controller.metrics import Objects
from diskyard.api import meta
from diskyard.api.meta import (
    CDI,
    CLAIM,
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    CONFIG_MAP,
    DATA_VOLUME,
    LEASE,
    NAMESPACE,
    SERVICE_ACCOUNT,
    Key,
)
from diskyard.errors import DiskyardError
from diskyard.kube.figures import Figures
from diskyard.kube.http import HttpClient
from tests import builders
from tests.builders import eventually
from tests.datavolume_controller.conftest import prepared
from tests.datavolume_controller.program import Controller, controller, review
from tests.handshake import TLS_1_2, cipher
from tests.served import Yard, served

LEASE_KEY = Key("cdi-controller-leader-election-helper", "cdi")
BUNDLE = Key("cdi-apiserver-signer-bundle", "cdi")
READING = {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with served(tmp_path_factory.mktemp("yard")) as running:
        running.store.create(NAMESPACE, builders.namespace("cdi"))
        prepared(running.store)
        yield running


@pytest.fixture(scope="module")
def program(yard: Yard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    with controller(yard.kubeconfig, tmp_path_factory.mktemp("log") / "log", "--name", "127.0.0.1") as found:
        yield found


@pytest.fixture
def bundle(yard: Yard, tmp_path: Path) -> Path:
    """What clients of its webhooks are to trust."""
    path = tmp_path / "ca.crt"
    path.write_text(yard.store.get(CONFIG_MAP, BUNDLE)["data"]["ca-bundle.crt"])
    return path


def judged(program: Controller, bundle: Path, path: str, asked: dict[str, Any]) -> dict[str, Any]:
    answer = requests.post(f"{program.url}{path}", json=asked, verify=str(bundle), timeout=60)
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["response"])


def test_a_data_volume_gets_its_claim(yard: Yard, program: Controller) -> None:
    yard.store.create(DATA_VOLUME, builders.data_volume("disk"))
    key = Key("disk", "default")
    eventually(lambda: key in {meta.key(each) for each in yard.store.list(CLAIM).items}, 60)


def test_what_it_does_is_counted(yard: Yard, program: Controller, bundle: Path) -> None:
    yard.store.create(DATA_VOLUME, builders.data_volume("counted"))

    def told() -> bool:
        page = program.page("/metrics", bundle, yard.token)
        assert 'kubevirt_cdi_storageprofile_info{complete="true",default="true"' in page, page
        assert (
            'diskyard_api_requests_total{code="200",resource="persistentvolumeclaims",verb="create"}' in page
        )
        assert "kubevirt_cdi_cr_ready 1.0" in page
        assert "kubevirt_cdi_datavolume_pending 0.0" in page
        return "diskyard_leader 1.0" in page

    assert eventually(told, 60)


def test_its_figures_ask_a_server_when_they_are_asked_for_and_no_sooner() -> None:
    figures, settings = Figures(), Configuration()
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        settings.host = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        client = HttpClient(settings)

        figures.registry.register(Objects(client))

        with pytest.raises(DiskyardError):
            figures.text()
        client.close()


def test_its_figures_are_for_those_who_may_read_them(yard: Yard, program: Controller, bundle: Path) -> None:
    said = program.answer("/metrics", bundle)
    assert (said.status_code, said.json()["message"]) == (
        401, "/metrics: expected the header `Authorization: Bearer TOKEN`, with a token of the API server",
    )  # fmt: skip
    assert program.answer("/metrics", bundle, "made-up").status_code == 401

    token = account(yard, "reader")
    said = program.answer("/metrics", bundle, token)
    assert said.status_code == 403
    assert 'User "system:serviceaccount:cdi:reader" may not get it' in said.json()["message"]

    token, role = account(yard, "scraper"), "cdi-metrics-reader"
    yard.store.create(CLUSTER_ROLE, builders.some(CLUSTER_ROLE, role, rules=[READING]))
    to = {"apiGroup": CLUSTER_ROLE.group, "kind": "ClusterRole", "name": role}
    whom = {"kind": "ServiceAccount", "name": "scraper", "namespace": "cdi"}
    bound = builders.some(CLUSTER_ROLE_BINDING, role, roleRef=to, subjects=[whom])
    yard.store.create(CLUSTER_ROLE_BINDING, bound)
    assert "diskyard_leader" in program.page("/metrics", bundle, token)


def account(yard: Yard, name: str) -> str:
    """A token of a new ServiceAccount."""
    yard.store.create(SERVICE_ACCOUNT, builders.some(SERVICE_ACCOUNT, name, "cdi"))
    asked = {"metadata": {"name": name, "namespace": "cdi"}, "spec": {}}
    return str(meta.status(yard.client.create(SERVICE_ACCOUNT, asked, "token"))["token"])


def test_speaks_tls_as_the_configuration_says(yard: Yard, program: Controller) -> None:
    (owner,) = yard.store.list(CDI).items
    profile = {"type": "Modern", "modern": {}}
    yard.store.patch(CDI, meta.key(owner), {"spec": {"config": {"tlsSecurityProfile": profile}}})
    eventually(lambda: not cipher(program.url, TLS_1_2), 60)
    assert cipher(program.url)

    yard.store.patch(CDI, meta.key(owner), {"spec": {"config": {"tlsSecurityProfile": None}}})

    eventually(lambda: cipher(program.url, TLS_1_2), 60)


def test_says_that_it_is_well(program: Controller, bundle: Path) -> None:
    assert (program.page("/healthz", bundle), program.page("/readyz", bundle)) == ("ok", "ok")


def test_refuses_what_the_rules_refuse_with_every_cause(program: Controller, bundle: Path) -> None:
    wrong = builders.data_volume("wrong", pvc={}, storage={})
    said = judged(program, bundle, "/datavolume-validate", review(wrong))

    message = "Duplicate storage definition, both target storage and target pvc defined"
    assert said["allowed"] is False
    assert (said["status"]["code"], said["status"]["message"]) == (422, f" {message}")
    assert said["status"]["details"]["causes"] == [
        {"reason": "FieldValueDuplicate", "message": message, "field": "spec.pvc"}
    ]


def test_a_claim_of_that_name_is_in_the_way(yard: Yard, program: Controller, bundle: Path) -> None:
    yard.store.create(CLAIM, builders.claim("taken"))
    said = judged(program, bundle, "/datavolume-validate", review(builders.data_volume("taken")))

    assert said["status"]["message"] == " Destination PVC default/taken already exists"


def test_who_may_not_read_the_source_may_not_clone_it(program: Controller, bundle: Path) -> None:
    clone = builders.data_volume("clone", source={"pvc": {"namespace": "golden", "name": "image"}})
    said = judged(program, bundle, "/datavolume-mutate", review(clone))

    words = " User ann has insufficient permissions in clone source namespace golden"
    assert (said["allowed"], said["status"]["message"]) == (False, words)


def test_the_lease_is_given_back_in_the_end_and_another_goes_on(yard: Yard, tmp_path: Path) -> None:
    name = "handed-over"
    yard.store.create(NAMESPACE, builders.namespace(name))
    key = Key(LEASE_KEY.name, name)

    def holder() -> str:
        return str(meta.spec(yard.store.get(LEASE, key)).get("holderIdentity") or "")

    def leases() -> bool:
        return key in {meta.key(each) for each in yard.store.list(LEASE).items}

    with controller(yard.kubeconfig, tmp_path / "one", "--namespace", name) as one:
        eventually(lambda: leases() and holder(), 60)
        first = holder()
        with controller(yard.kubeconfig, tmp_path / "two", "--namespace", name, "--part", "controllers"):
            assert one.stop() == 0
            eventually(lambda: holder() not in ("", first), 60)


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "datavolume_controller", "--kubeconfig", str(tmp_path / "nothing")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("diskyard-controller: no API server can be told from")
