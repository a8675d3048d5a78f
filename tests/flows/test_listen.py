"""`diskyard up --listen`: in from another address, by the kubeconfig that is written for it."""

import socket
import stat
from pathlib import Path

import pytest
import requests
from kubernetes import client, config

from tests.flows.yard import Yard, running


def address() -> str:
    """An address of this machine that is not the loopback; none needs to answer there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address besides the loopback")
        return str(probe.getsockname()[0])


def test_a_colleague_comes_in_by_the_address_and_is_announced(tmp_path: Path) -> None:
    here = address()
    with running(tmp_path / "yard", "--listen", here):
        path = tmp_path / "yard" / f"kubeconfig-{here}"
        for file in (path, tmp_path / "yard" / "kubeconfig"):
            with config.new_client_from_config(str(file)) as api:
                names = [one.metadata.name for one in client.CoreV1Api(api).list_namespace().items]
                assert "default" in names
                service = client.CoreV1Api(api).read_namespaced_service("kubernetes", "default")

    assert here in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert service.spec.external_ips == [here]
    assert f"Whoever has {path} is the administrator" in (tmp_path / "yard.log").read_text()


def test_uploads_and_pages_are_let_in_too_at_a_port_that_stays_until_the_door_is_shut(tmp_path: Path) -> None:
    here, authority = address(), tmp_path / "yard" / "pki" / "ca.crt"
    ports = []
    for _ in range(2):
        with running(tmp_path / "yard", "--listen", here) as yard:
            service = yard.core().read_namespaced_service("cdi-uploadproxy", "cdi").spec
            ports.append(service.ports[0].port)
            for host in (here, service.cluster_ip):
                page = requests.get(f"https://{host}:{ports[-1]}/", verify=str(authority), timeout=60)
                assert (page.status_code, "<!doctype html>" in page.text.lower()) == (200, True), page.text
            assert here in service.external_ips
    assert ports[0] == ports[1]

    with running(tmp_path / "yard") as yard:
        for port in (ports[0], yard.core().api_client.configuration.host.rpartition(":")[2]):
            with pytest.raises(requests.ConnectionError):
                requests.get(f"https://{here}:{port}/", verify=str(authority), timeout=60)


def test_all_addresses_at_once_are_refused(tmp_path: Path) -> None:
    code, said = Yard.refused(tmp_path / "yard", "--listen", "0.0.0.0")

    assert code == 3
    assert "expected one address, found all of them" in said
