"""Deleting: preconditions, finalizers, grace."""

import pytest

from diskyard.api import meta
from diskyard.api.meta import CLAIM, CONFIG_MAP, POD, Key, Obj
from diskyard.api.names.cdi import CLAIM_PROTECTION
from diskyard.errors import ApiError, Conflict, Invalid, NotFound
from diskyard.kube.client import Client, Deletion
from tests import builders


def held(name: str, place: str) -> Obj:
    return builders.some(CONFIG_MAP, name, place, metadata={"finalizers": ["tests.example/hold"]})


def running_pod(client: Client, place: str, grace: int = 30) -> Key:
    pod = builders.pod("one", nodeName="here", terminationGracePeriodSeconds=grace)
    pod["metadata"]["namespace"] = place
    client.create(POD, pod)
    client.patch(POD, Key("one", place), {"status": {"phase": "Running"}}, "status")
    return Key("one", place)


def gone(client: Client, key: Key) -> bool:
    try:
        client.get(POD, key)
    except NotFound:
        return True
    return False


def test_what_is_deleted_is_gone_and_its_name_is_free(client: Client, place: str) -> None:
    first = client.create(CONFIG_MAP, builders.some(CONFIG_MAP, "one", place))
    client.delete(CONFIG_MAP, Key("one", place))

    with pytest.raises(NotFound):
        client.delete(CONFIG_MAP, Key("one", place))
    assert meta.uid(client.create(CONFIG_MAP, builders.some(CONFIG_MAP, "one", place))) != meta.uid(first)


@pytest.mark.parametrize("deletion", [Deletion(uid="another"), Deletion(resource_version="1")])
def test_a_precondition_that_does_not_hold_is_a_conflict(
    client: Client, place: str, deletion: Deletion
) -> None:
    client.create(CONFIG_MAP, builders.some(CONFIG_MAP, "one", place))

    with pytest.raises(Conflict):
        client.delete(CONFIG_MAP, Key("one", place), deletion)

    assert client.get(CONFIG_MAP, Key("one", place))


def test_an_object_stays_until_its_last_finalizer_is_gone(client: Client, place: str) -> None:
    client.create(CONFIG_MAP, held("one", place))

    waiting = client.delete(CONFIG_MAP, Key("one", place))
    again = client.delete(CONFIG_MAP, Key("one", place))
    client.patch(CONFIG_MAP, Key("one", place), {"metadata": {"finalizers": None}})

    assert meta.deleting(waiting)
    assert again == waiting
    with pytest.raises(NotFound):
        client.get(CONFIG_MAP, Key("one", place))


def test_no_finalizer_can_be_added_to_what_is_going(client: Client, place: str) -> None:
    client.create(CONFIG_MAP, held("one", place))
    client.delete(CONFIG_MAP, Key("one", place))
    more = {"metadata": {"finalizers": ["tests.example/hold", "tests.example/more"]}}

    with pytest.raises(Invalid, match="no new finalizers can be added if the object is being deleted"):
        client.patch(CONFIG_MAP, Key("one", place), more)


def test_a_claim_is_protected_from_its_first_moment(client: Client, place: str) -> None:
    claim = builders.claim("one")
    claim["metadata"]["namespace"] = place

    made = client.create(CLAIM, claim)

    assert meta.meta(made)["finalizers"] == [CLAIM_PROTECTION]
    assert meta.phase(made) == "Pending"


def test_a_running_pod_gets_its_grace(client: Client, place: str) -> None:
    key = running_pod(client, place, grace=7)

    waiting = client.delete(POD, key)

    assert meta.meta(waiting)["deletionGracePeriodSeconds"] == 7
    assert not gone(client, key)


def test_a_pod_asked_to_go_at_once_is_gone(client: Client, place: str) -> None:
    key = running_pod(client, place)
    client.delete(POD, key)

    client.delete(POD, key, Deletion(grace=0))

    assert gone(client, key)


def test_grace_can_become_shorter_but_not_longer(client: Client, place: str) -> None:
    key = running_pod(client, place)

    graces = [
        meta.meta(client.delete(POD, key, Deletion(grace=grace)))["deletionGracePeriodSeconds"]
        for grace in (20, 10, 25)
    ]

    assert graces == [20, 10, 10]


def test_a_pod_that_runs_nowhere_goes_at_once(client: Client, place: str) -> None:
    pod = builders.pod("one")
    pod["metadata"]["namespace"] = place
    client.create(POD, pod)

    client.delete(POD, Key("one", place))

    assert gone(client, Key("one", place))


def test_a_pod_that_is_over_goes_at_once(client: Client, place: str) -> None:
    key = running_pod(client, place)
    client.patch(POD, key, {"status": {"phase": "Succeeded"}}, "status")

    client.delete(POD, key)

    assert gone(client, key)


def test_deleting_what_never_was_says_so(client: Client, place: str) -> None:
    with pytest.raises(ApiError, match=r'^persistentvolumeclaims "nothing" not found$'):
        client.delete(CLAIM, Key("nothing", place))
