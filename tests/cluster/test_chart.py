"""The chart renders, whatever is switched on, to what a real API server takes and what the yard says, too."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from datavolume_controller import program
from diskyard import VERSION
from diskyard.api import meta
from diskyard.api.meta import API_SERVICE, NAMESPACE
from standalone import guestapi
from standalone.access import kubevirt
from tests import builders
from tests.cluster.helm import CHART, helm, rendered
from tests.cluster.programs import folder
from tests.served import served

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("chart")]
EVERYTHING = ("monitoring.serviceMonitor=true", "monitoring.rules=true", "networkPolicies.enabled=true")
ALERTS = {
    "CDIOperatorDown", "CDINotReady", "CDIDataVolumeUnusualRestartCount", "CDIStorageProfilesIncomplete",
    "CDIDataImportCronOutdated", "CDINoDefaultStorageClass", "CDIMultipleDefaultVirtStorageClasses",
    "CDIDefaultStorageClassDegraded",
}  # fmt: skip


def named(objects: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {meta.name(each): each for each in objects if each["kind"] == kind}


def test_helm_finds_no_fault() -> None:
    said = helm("lint", "--strict", str(CHART))
    assert "0 chart(s) failed" in said


@pytest.mark.parametrize(
    "values",
    [
        (), EVERYTHING, ("deploy=false",), ("admission.enabled=false",), ("admission.renderClaims=false",),
        ("admission.url=https://10.0.0.1:8443",), ("cdi.create=false", "roles.create=false"),
        ("kubevirt.create=true",), ("kubevirt.create=true", "kubevirt.virtctl.url=https://10.0.0.1:8186"),
        ("kubevirt.create=true", "kubevirt.virtctl.enabled=false", "roles.create=false"),
        ("image.pullSecrets[0].name=x", "controllers.priorityClassName=high", "controllers.verbosity=2"),
    ],
    ids=lambda values: " ".join(values) or "as it is",
)  # fmt: skip
def test_renders_with(values: tuple[str, ...]) -> None:
    objects = rendered(*values)
    assert all(each.get("apiVersion") and meta.name(each) for each in objects)
    assert all("cdi.kubevirt.io" in meta.labels(each) for each in objects)


def test_every_alert_has_its_name_and_says_what_is_wrong() -> None:
    rules = named(rendered(*EVERYTHING), "PrometheusRule")["prometheus-cdi-rules"]["spec"]["groups"][0][
        "rules"
    ]
    alerts = [each for each in rules if "alert" in each]
    assert {each["alert"] for each in alerts} == ALERTS
    for each in alerts:
        assert (
            each["annotations"]["runbook_url"] == f"https://kubevirt.io/monitoring/runbooks/{each['alert']}"
        )
        assert each["labels"]["kubernetes_operator_component"] == "containerized-data-importer"
        assert each["expr"].count("(") == each["expr"].count(")")
    incomplete = next(each for each in alerts if each["alert"] == "CDIStorageProfilesIncomplete")
    assert "{{ $labels.storageclass }}" in incomplete["annotations"]["summary"]


def test_prometheus_shows_the_token_of_an_account_that_may_read_metrics_and_nothing_else() -> None:
    objects = rendered(*EVERYTHING)
    shown = named(objects, "ServiceMonitor")["service-monitor-cdi"]["spec"]["endpoints"][0]["authorization"]
    token = named(objects, "Secret")[shown["credentials"]["name"]]
    account = token["metadata"]["annotations"]["kubernetes.io/service-account.name"]
    holds = [
        each["roleRef"]["name"]
        for each in objects
        if each["kind"].endswith("Binding") and any(one["name"] == account for one in each["subjects"])
    ]
    assert [named(objects, "ClusterRole")[each]["rules"] for each in holds] == [
        [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]
    ]


def test_alerts_ask_for_metrics_that_there_are() -> None:
    known = (CHART.parents[1] / "datavolume_controller" / "metrics.py").read_text()
    asked = set(re.findall(r"\bkubevirt_cdi_\w+", (CHART / "alerts.yaml").read_text()))
    ours = {name for name in asked if "restart" not in name and "operator_up" not in name}
    assert ours == {name for name in asked if name in known}


def test_the_program_looks_after_every_webhook_of_the_chart() -> None:
    objects = rendered()
    assert set(named(objects, "ValidatingWebhookConfiguration")) == set(program.VALIDATING)
    assert set(named(objects, "MutatingWebhookConfiguration")) == set(program.MUTATING)


def test_no_account_may_do_everything_with_anything() -> None:
    for kind in ("ClusterRole", "Role"):
        for name, role in named(rendered(), kind).items():
            if not name.startswith("cdi.kubevirt.io:"):
                assert all("*" not in rule["verbs"] + rule.get("resources", []) for rule in role["rules"]), (
                    name
                )


def test_people_get_the_roles_that_the_yard_gives_them() -> None:
    ours = named(rendered("kubevirt.create=true"), "ClusterRole")
    for role in kubevirt.roles():
        name = meta.name(role)
        if "kubevirt.io:" in name:  # the rights to snapshots are for who installs their definitions to give
            assert _plain(ours[name]) == _plain(role), name


def test_the_node_looks_after_every_api_service_of_guests() -> None:
    services = named(rendered("kubevirt.create=true"), "APIService")
    assert {(API_SERVICE, name) for name in services if "subresources" in name} == {*guestapi.TRUSTING}


def test_the_versions_agree() -> None:
    assert f"version: {VERSION}\nappVersion: {VERSION}" in (CHART / "Chart.yaml").read_text()


def _plain(role: dict[str, Any]) -> Any:
    aggregated = {key for key in meta.labels(role) if "aggregate-to" in key}
    fields = ("apiGroups", "resources", "verbs")
    rules = sorted(tuple(tuple(sorted(rule[field])) for field in fields) for rule in role["rules"])
    return aggregated, rules


def test_a_yard_takes_the_chart_from_kubectl_and_its_roles_hold_there(tmp_path: Path) -> None:
    """`helm template | kubectl apply -f -`, but for the programs and webhooks, which a yard has in itself."""
    objects = rendered("deploy=false", "admission.enabled=false", crds=True)
    with served(tmp_path) as yard:
        yard.client.create(NAMESPACE, builders.namespace("cdi"))

        def kubectl(*words: str) -> subprocess.CompletedProcess[str]:
            program = [
                str(folder() / "kubectl"),
                "--kubeconfig",
                str(yard.kubeconfig),
                "--cache-dir",
                str(tmp_path),
            ]
            told = yaml.safe_dump_all(objects)
            return subprocess.run([*program, *words], input=told, capture_output=True, text=True, check=False)

        first, again, differing = (kubectl(*words, "-f", "-") for words in (["apply"], ["apply"], ["diff"]))
        may, may_not = (
            kubectl("auth", "can-i", *what, "--as=system:serviceaccount:cdi:cdi-sa", "--all-namespaces")
            for what in (("patch", "datavolumes"), ("delete", "nodes"))
        )

    assert first.returncode == 0, first.stderr
    assert len(first.stdout.splitlines()) == len(objects)
    assert {line.rsplit(" ", 1)[1] for line in again.stdout.splitlines()} == {"unchanged"}
    assert (differing.returncode, differing.stdout) == (0, ""), differing.stderr
    assert (may.stdout.strip(), may_not.stdout.strip()) == ("yes", "no")
