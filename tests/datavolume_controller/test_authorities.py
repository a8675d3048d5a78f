"""The keys of uploads: the proxy's certificate is for every name by which people reach it."""

import pytest

from datavolume_controller import uploader
from datavolume_controller.authorities import Authorities
from diskyard.api.meta import CDI, CDI_CONFIG, NAMESPACE, SECRET, Key
from diskyard.api.names import cdi, upload
from diskyard.web import issue
from standalone.store.objects import Objects
from tests import builders

OWNER = Key("cdi")


def settled(store: Objects) -> set[str]:
    """The names in the proxy's certificate, once there is nothing left to do."""
    for _ in range(10):
        world = Authorities().gather(store, OWNER)
        assert world
        actions = Authorities().decide(world).actions
        if not actions:
            break
        for action in actions:
            action.carry_out(store)
    pair = uploader.pair(store.get(SECRET, Key(upload.PROXY_CERT, cdi.NAMESPACE)))
    found = issue.certificate(pair) if pair else None
    assert found
    return issue.hosts(found)


@pytest.fixture
def owned(store: Objects) -> Objects:
    store.create(NAMESPACE, builders.namespace(cdi.NAMESPACE))
    store.create(CDI, builders.some(CDI, OWNER.name, spec={}))
    return store


def overridden(store: Objects, url: str) -> None:
    store.patch(CDI, OWNER, {"spec": {"config": {"uploadProxyURLOverride": url}}})


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://uploads.example.com", "uploads.example.com"),
        ("uploads.example.com:8443/there", "uploads.example.com"),
        ("https://192.0.2.7:31001", "192.0.2.7"),
        ("https://[2001:db8::7]", "2001:db8::7"),
    ],
)
def test_the_operators_name_of_the_proxy_is_in_its_certificate(owned: Objects, url: str, host: str) -> None:
    before = settled(owned)

    overridden(owned, url)

    assert before == {"cdi-uploadproxy.cdi.svc", "cdi-uploadproxy", "cdi-uploadproxy.cdi"}
    assert settled(owned) == before | {host}


def test_so_is_the_host_of_an_ingress_that_the_config_tells(owned: Objects) -> None:
    owned.create(CDI_CONFIG, builders.some(CDI_CONFIG, "config", spec={}))
    owned.patch(CDI_CONFIG, Key("config"), {"status": {"uploadProxyURL": "in.example.com"}})

    assert "in.example.com" in settled(owned)


@pytest.mark.parametrize("url", ["https://[", "https://spaß.example", "https://a b", ""])
def test_what_is_no_host_is_left_out(owned: Objects, url: str) -> None:
    overridden(owned, url)

    assert len(settled(owned)) == 3
