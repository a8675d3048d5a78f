"""Guests' subresources behind another API server: where they are, and who is believed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from diskyard.api.meta import ENDPOINT_SLICE, NAMESPACE, SERVICE, Obj
from diskyard.api.names import kubevirt
from diskyard.errors import NotFound
from diskyard.kube.aggregated import FrontProxy
from diskyard.web import server
from standalone.guestapi import KEY, GuestApi, Post, application, publish
from standalone.store.objects import Objects
from standalone.wire.doors import Doors
from tests.builders import some
from vm_runtime.agent import doors


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Objects]:
    with Objects.open(tmp_path / "store.db") as found:
        found.create(NAMESPACE, some(NAMESPACE, kubevirt.NAMESPACE))
        yield found


def service(store: Objects, **spec: object) -> None:
    spec = {"ports": [{"port": 443, "targetPort": 8186}], **spec}
    store.create(SERVICE, some(SERVICE, KEY.name, KEY.namespace, spec=spec))


def led(store: Objects) -> Obj:
    return store.get(ENDPOINT_SLICE, KEY)


def test_the_service_leads_to_who_serves_now(store: Objects) -> None:
    service(store)
    publish(store, "10.1.2.3", 8186)
    publish(store, "10.1.2.4", 9000)

    found = led(store)
    assert [each["addresses"] for each in found["endpoints"]] == [["10.1.2.4"]]
    assert found["ports"] == [{"name": "", "port": 9000, "protocol": "TCP"}]
    assert found["metadata"]["labels"]["kubernetes.io/service-name"] == KEY.name


@pytest.mark.parametrize(
    ("spec", "address"),
    [
        ({"type": "ExternalName", "externalName": "10.1.2.3"}, "10.1.2.3"),
        ({"selector": {"app": "virt-api"}}, "10.1.2.3"),
        ({}, "127.0.0.1"),
    ],
    ids=["it is a name", "it finds its pods itself", "the address is this machine's alone"],
)
def test_a_service_is_let_alone_where(store: Objects, spec: dict[str, object], address: str) -> None:
    service(store, **spec)
    publish(store, address, 8186)

    with pytest.raises(NotFound):
        led(store)


def test_without_a_service_nothing_is_led_anywhere(store: Objects) -> None:
    publish(store, "10.1.2.3", 8186)

    with pytest.raises(NotFound):
        led(store)


def test_what_is_in_the_way_is_said_once(store: Objects, tmp_path: Path) -> None:
    said: list[str] = []
    with GuestApi(store, lambda _: doors.Doors(tmp_path), Post("127.0.0.1", 0), said.append) as api:
        api.attend()
        api.attend()

    assert said == [
        'guests are not served to virtctl yet: configmaps "extension-apiserver-authentication" not found'
    ]


def test_everyone_learns_what_there_is_and_nobody_without_the_front_proxy_does_anything(
    store: Objects, tmp_path: Path
) -> None:
    ways = Doors(store, lambda _: doors.Doors(tmp_path))
    app = application(ways, FrontProxy("authority"), lambda _user, _access: True)
    running = server.start(app, server.Place("127.0.0.1"))
    root = f"{running.url}/apis/{kubevirt.DOORS}"
    try:
        listed = requests.get(f"{root}/v1", timeout=60).json()
        unknown = requests.get(f"{root}/v2", timeout=60)
        headers = {"X-Remote-User": "admin", "X-Remote-Group": "system:masters"}
        path = f"{root}/v1/namespaces/default/virtualmachines/one/start"
        refused = requests.put(path, headers=headers, timeout=60)
    finally:
        running.stop()

    assert "virtualmachines/start" in {each["name"] for each in listed["resources"]}
    assert (unknown.status_code, refused.status_code) == (404, 401)
    assert refused.json()["reason"] == "Unauthorized"
