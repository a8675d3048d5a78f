"""The controllers' metrics on a real cluster: for the account of the chart, and nobody else."""

import pytest
import requests

from tests.builders import eventually
from tests.cluster.server import Cluster
from tests.flows.cluster import Clustered, token

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning"),
]
"""They show a certificate of their own making."""


def asked(cluster: Clustered, shown: str = "") -> requests.Response:
    headers = {"Authorization": f"Bearer {shown}"} if shown else {}
    return requests.get(f"{cluster.figures}/metrics", headers=headers, verify=False, timeout=60)


@pytest.mark.parametrize(("shown", "code"), [("", 401), ("made-up", 401)])
def test_who_shows_no_token_of_the_cluster_learns_nothing(cluster: Clustered, shown: str, code: int) -> None:
    assert asked(cluster, shown).status_code == code


def test_an_account_without_the_right_is_told_which(real: Cluster, cluster: Clustered) -> None:
    said = asked(cluster, token(real, "cdi-uploadproxy"))
    assert said.status_code == 403
    assert "cdi-metrics-reader" in said.json()["message"]


def test_prometheus_reads_them(real: Cluster, cluster: Clustered) -> None:
    reader = token(real, "cdi-metrics-reader")
    eventually(lambda: "diskyard_leader 1.0" in asked(cluster, reader).text, 60)
    page = asked(cluster, reader).text
    for name in (
        "kubevirt_cdi_cr_ready",
        "kubevirt_cdi_datavolume_pending",
        "kubevirt_cdi_storageprofile_info",
    ):
        assert name in page
