"""Certificates on a cluster: shared by replicas, renewed in time, never trusted too late."""

import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from diskyard.api import meta
from diskyard.api.meta import API_SERVICE, CONFIG_MAP, CRD, SECRET, VALIDATING_WEBHOOKS, Key, Kind, Obj
from diskyard.kube import certificates
from diskyard.kube.certificates import Certificates, Place, Served, publish, rotate, trusting
from diskyard.web import issue
from standalone.store.objects import Objects
from tests.builders import eventually, some

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
PLACE = Place("default", "cdi-apiserver")
HOSTS = ("cdi-api.cdi.svc",)


def after(store: Objects, hours: float, hosts: tuple[str, ...] = HOSTS) -> Served:
    return rotate(store, PLACE, hosts, NOW + hours * HOUR)


def trusted(served: Served, bundle: bytes) -> bool:
    """Whether who trusts that bundle trusts that server."""
    server = issue.certificate(served.server)
    assert server is not None
    return any(issue.signed_by(server, each) for each in x509.load_pem_x509_certificates(bundle))


def test_is_made_once_and_kept(store: Objects) -> None:
    first = after(store, 0)
    assert after(store, 11) == first
    assert trusted(first, first.bundle)


def test_is_for_the_names_that_it_is_asked_for(store: Objects) -> None:
    after(store, 0)
    found = issue.certificate(after(store, 1, ("a.example", "10.0.0.1")).server)
    assert found is not None
    assert issue.hosts(found) == {"a.example", "10.0.0.1"}


def test_is_renewed_at_half_its_life(store: Objects) -> None:
    assert after(store, 0).server != after(store, 12.5).server


@pytest.mark.parametrize("step", [0.004, 1, 5, 11.9, 23])
def test_whoever_holds_the_last_bundle_trusts_the_next_certificate(store: Objects, step: float) -> None:
    hours, before = 0.0, after(store, 0)
    for _ in range(min(200, int(120 / step))):
        hours += step
        served = after(store, hours)
        assert trusted(served, before.bundle), f"after {hours} hours"
        before = served


def test_bundles_forget_what_has_ended(store: Objects) -> None:
    for hours in range(0, 400, 20):
        bundle = after(store, hours).bundle
        assert bundle.count(b"BEGIN") <= 3


def test_replicas_agree(store: Objects) -> None:
    found: list[Served] = []
    threads = [threading.Thread(target=lambda: found.append(after(store, 0))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {each.server for each in found} == {after(store, 0).server}
    assert all(trusted(found[0], after(store, 0).bundle) for _ in found)


@pytest.mark.parametrize("what", ["signer", "server", "bundle"])
def test_what_was_taken_away_or_damaged_is_made_anew(store: Objects, what: str) -> None:
    after(store, 0)
    if what == "bundle":
        store.delete(CONFIG_MAP, PLACE.bundle)
    else:
        store.patch(SECRET, getattr(PLACE, what), {"data": {"tls.key": "bm90aGluZw=="}})
    served = after(store, 0.1)
    assert trusted(served, store.get(CONFIG_MAP, PLACE.bundle)["data"][certificates.BUNDLE_KEY].encode())


def test_every_webhook_of_a_configuration_is_told_what_to_trust() -> None:
    hooks = [{"name": "a", "clientConfig": {"url": "https://x"}}, {"name": "b", "clientConfig": {}}]
    told = trusting({"webhooks": hooks}, "YQ==")["webhooks"]
    assert [each["clientConfig"] for each in told] == [
        {"url": "https://x", "caBundle": "YQ=="}, {"caBundle": "YQ=="},
    ]  # fmt: skip


def test_an_api_service_is_told_what_to_trust() -> None:
    assert trusting({"spec": {"group": "g"}}, "YQ==") == {"spec": {"group": "g", "caBundle": "YQ=="}}


def test_what_is_made_anew_is_told_at_once_whom_to_trust(store: Objects) -> None:
    name = "v1.tests.example"
    store.create(CRD, definition(API_SERVICE))
    with closing(Certificates(store, PLACE, HOSTS, [(API_SERVICE, name)], every=3600)) as kept:
        kept.start()
        for _ in range(2):
            store.create(API_SERVICE, some(API_SERVICE, name, spec={"group": "tests.example"}))

            eventually(lambda: meta.spec(store.get(API_SERVICE, Key(name))).get("caBundle"), 60)

            store.delete(API_SERVICE, Key(name))


def definition(kind: Kind) -> Obj:
    """For a store that does not have that kind by itself."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": kind.version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": kind.kind, "plural": kind.plural}
    spec = {"group": kind.group, "scope": "Cluster", "names": names, "versions": [version]}
    return some(CRD, f"{kind.plural}.{kind.group}", spec=spec)


def test_a_configuration_that_is_not_there_is_left_alone(store: Objects) -> None:
    publish(store, VALIDATING_WEBHOOKS, "absent", b"bundle")
