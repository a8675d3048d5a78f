"""Who wrote which field, and how much a namespace may hold: what every client of the server sees."""

from typing import Any

import pytest

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, DATA_VOLUME, RESOURCE_QUOTA, Key, Obj
from diskyard.errors import Forbidden
from diskyard.kube.client import Client
from tests import builders


def works(obj: Obj) -> list[tuple[str, str, Any]]:
    return [
        (entry["operation"], entry.get("subresource", ""), entry["fieldsV1"])
        for entry in meta.meta(obj)["managedFields"]
    ]


def volume(place: str) -> Obj:
    obj = builders.data_volume("one", source={"blank": {}})
    obj["metadata"]["namespace"] = place
    return obj


def test_who_creates_owns_what_was_said_and_what_lies_between(client: Client, place: str) -> None:
    made = client.create(DATA_VOLUME, volume(place))

    storage = {".": {}, "f:resources": {".": {}, "f:requests": {".": {}, "f:storage": {}}}}
    spec = {".": {}, "f:source": {".": {}, "f:blank": {}}, "f:storage": storage}
    assert works(made) == [("Update", "", {"f:spec": spec})]
    assert meta.meta(made)["managedFields"][0]["apiVersion"] == DATA_VOLUME.api_version


def test_the_status_is_owned_apart(client: Client, place: str) -> None:
    client.create(DATA_VOLUME, volume(place))

    after = client.patch(DATA_VOLUME, Key("one", place), {"status": {"phase": "Pending"}}, "status")

    assert ("Update", "status", {"f:status": {".": {}, "f:phase": {}}}) in works(after)


def test_what_is_taken_away_has_no_owner_left(client: Client, place: str) -> None:
    client.create(CONFIG_MAP, builders.some(CONFIG_MAP, "one", place, data={"a": "1", "b": "1"}))

    after = client.patch(CONFIG_MAP, Key("one", place), {"data": {"b": None}})

    assert works(after) == [("Update", "", {"f:data": {".": {}, "f:a": {}}})]


def test_a_client_that_sends_no_owners_loses_none(client: Client, place: str) -> None:
    made = client.create(CONFIG_MAP, builders.some(CONFIG_MAP, "one", place, data={"a": "1"}))
    bare = {field: value for field, value in made["metadata"].items() if field != "managedFields"}

    after = client.update(CONFIG_MAP, {**made, "metadata": {**bare, "labels": {"l": "1"}}})

    assert works(after) == [
        ("Update", "", {"f:data": {".": {}, "f:a": {}}, "f:metadata": {"f:labels": {".": {}, "f:l": {}}}})
    ]


def test_owners_can_be_forgotten(client: Client, place: str) -> None:
    made = client.create(CONFIG_MAP, builders.some(CONFIG_MAP, "one", place, data={"a": "1"}))

    after = client.update(CONFIG_MAP, {**made, "metadata": {**made["metadata"], "managedFields": [{}]}})

    assert "managedFields" not in meta.meta(after)


def test_a_quota_is_enforced_in_kubernetes_words(client: Client, place: str) -> None:
    quota = builders.some(RESOURCE_QUOTA, "few", place, spec={"hard": {"count/configmaps": "1"}})
    client.create(RESOURCE_QUOTA, quota)
    builders.eventually(lambda: meta.status(client.get(RESOURCE_QUOTA, Key("few", place))))
    client.create(CONFIG_MAP, builders.some(CONFIG_MAP, "one", place))

    with pytest.raises(Forbidden) as caught:
        client.create(CONFIG_MAP, builders.some(CONFIG_MAP, "two", place))

    assert str(caught.value) == (
        'configmaps "two" is forbidden: exceeded quota: few, requested: count/configmaps=1, '
        "used: count/configmaps=1, limited: count/configmaps=1"
    )
