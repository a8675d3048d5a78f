"""Lists in pieces and as of a moment, and what old versions are told."""

import base64
import json
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, Key
from diskyard.kube.client import ALL, Selection
from standalone.store.objects import Objects
from standalone.store.page import Asking, TooOld
from tests import builders
from tests.standalone.wire.conftest import Wire

NAMES = ["a", "b", "c", "d", "e"]


@pytest.fixture
def maps(wire: Wire, place: str) -> str:
    for name in NAMES:
        wire.yard.store.create(CONFIG_MAP, builders.some(CONFIG_MAP, name, place))
    return f"/api/v1/namespaces/{place}/configmaps"


def test_a_list_comes_in_pieces(wire: Wire, maps: str) -> None:
    first = wire.get(f"{maps}?limit=2").obj
    second = wire.get(f"{maps}?limit=2&continue={first['metadata']['continue']}").obj
    third = wire.get(f"{maps}?limit=2&continue={second['metadata']['continue']}").obj

    assert [[meta.name(one) for one in answer["items"]] for answer in (first, second, third)] == [
        ["a", "b"], ["c", "d"], ["e"],
    ]  # fmt: skip
    assert [answer["metadata"].get("remainingItemCount") for answer in (first, second, third)] == [3, 1, None]
    assert "continue" not in third["metadata"]


def test_a_piece_that_a_selector_chose_does_not_say_how_many_are_left(wire: Wire, maps: str) -> None:
    found = wire.get(f"{maps}?limit=2&fieldSelector=metadata.name!%3Da").obj

    assert [meta.name(one) for one in found["items"]] == ["b", "c"]
    assert "remainingItemCount" not in found["metadata"]


def test_every_piece_shows_the_list_as_it_stood_for_the_first(wire: Wire, place: str, maps: str) -> None:
    first = wire.get(f"{maps}?limit=2").obj
    wire.yard.store.patch(CONFIG_MAP, Key("c", place), {"data": {"late": "1"}})
    wire.yard.store.delete(CONFIG_MAP, Key("d", place))
    wire.yard.store.create(CONFIG_MAP, builders.some(CONFIG_MAP, "cc", place))

    rest = wire.get(f"{maps}?continue={first['metadata']['continue']}").obj

    assert [meta.name(one) for one in rest["items"]] == ["c", "d", "e"]
    assert "data" not in rest["items"][0]
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_a_list_can_be_asked_for_as_it_stood(wire: Wire, place: str, maps: str) -> None:
    then = wire.get(maps).obj["metadata"]["resourceVersion"]
    wire.yard.store.delete(CONFIG_MAP, Key("a", place))

    exact = wire.get(f"{maps}?resourceVersion={then}&resourceVersionMatch=Exact").obj
    newer = wire.get(f"{maps}?resourceVersion={then}&resourceVersionMatch=NotOlderThan").obj

    assert [meta.name(one) for one in exact["items"]] == NAMES
    assert [meta.name(one) for one in newer["items"]] == NAMES[1:]


def test_a_token_that_is_too_old_comes_with_a_fresh_one(tmp_path: Path) -> None:
    with Objects.open(tmp_path / "store.db", retention=8) as store:
        for name in NAMES:
            store.create(CONFIG_MAP, builders.some(CONFIG_MAP, name))
        first = store.piece(CONFIG_MAP, ALL, Asking(2))
        for number in range(20):
            store.patch(CONFIG_MAP, Key("e", "default"), {"data": {"n": str(number)}})

        with pytest.raises(TooOld, match="The provided continue parameter is too old") as caught:
            store.piece(CONFIG_MAP, ALL, Asking(2, first.token))
        rest = store.piece(CONFIG_MAP, ALL, Asking(0, caught.value.token))

    assert caught.value.status()["metadata"]["continue"] == caught.value.token
    assert [record.key.name for record in rest.records] == ["c", "d", "e"]
    assert rest.records[-1].obj()["data"] == {"n": "19"}


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("continue=nonsense", 400, "continue key is not valid"),
        ("continue=bm9uc2Vuc2U&resourceVersion=1", 400, "specifying resource version is not allowed"),
        ("limit=-1", 400, "limit"),
        ("resourceVersion=soon", 400, "resourceVersion"),
        ("resourceVersionMatch=Exact", 422, "resourceVersionMatch is forbidden unless resourceVersion"),
        ("resourceVersion=0&resourceVersionMatch=Exact", 422, 'forbidden for resourceVersion "0"'),
        ("resourceVersion=1&resourceVersionMatch=Nearly", 422, 'Unsupported value: "Nearly"'),
        ("resourceVersion=999999999", 504, "Too large resource version: 999999999, current: "),
        ("sendInitialEvents=true", 422, "sendInitialEvents is forbidden for list"),
        ("watch=1&sendInitialEvents=true", 422, "sendInitialEvents requires setting resourceVersionMatch"),
        ("watch=1&resourceVersionMatch=NotOlderThan", 422, "forbidden for watch unless sendInitialEvents"),
    ],
)
def test_options_that_do_not_go_together_are_refused(wire: Wire, query: str, status: int, said: str) -> None:
    answer = wire.get(f"/api/v1/configmaps?{query}")

    assert (answer.status, said in answer.obj["message"]) == (status, True)


@pytest.mark.parametrize("content", [{}, [], {"v": "meta.k8s.io/v1", "rv": 0, "start": ""}, {"v": "x"}, 3])
def test_a_token_of_another_making_is_refused(wire: Wire, content: object) -> None:
    token = base64.urlsafe_b64encode(json.dumps(content).encode()).decode()

    assert wire.get(f"/api/v1/configmaps?{urlencode({'continue': token})}").status == 400


def test_a_version_that_is_going_away_says_so(wire: Wire, place: str) -> None:
    path = f"/apis/cdi.kubevirt.io/{{}}/namespaces/{place}/datavolumes"

    old, current = wire.get(path.format("v1alpha1")), wire.get(path.format("v1beta1"))

    told = "cdi.kubevirt.io/v1alpha1 DataVolume is deprecated; use cdi.kubevirt.io/v1beta1 DataVolume"
    assert old.headers["Warning"] == f'299 - "{told}"'
    assert "Warning" not in current.headers


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=8),
    writes=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans()), max_size=12),
)
def test_whatever_is_written_between_them_pieces_add_up_to_one_list(
    wire: Wire, sizes: list[int], writes: list[tuple[str, bool]]
) -> None:
    store = wire.yard.store
    place = meta.name(store.create(builders.NAMESPACE, {"metadata": {"generateName": "pieces-"}}))
    for name in "bdf":
        store.create(CONFIG_MAP, builders.some(CONFIG_MAP, name, place))
    whole = store.piece(CONFIG_MAP, Selection(place)).records
    left, found = list(writes), []

    token, turn = "", 0
    while turn == 0 or token:
        piece = store.piece(CONFIG_MAP, Selection(place), Asking(sizes[turn % len(sizes)], token))
        found += piece.records
        token, turn = piece.token, turn + 1
        for name, stays in left[: len(left) // 2 + 1]:
            there = store.list(CONFIG_MAP, Selection(place, fields=f"metadata.name={name}")).items
            if there and not stays:
                store.delete(CONFIG_MAP, Key(name, place))
            elif not there:
                store.create(CONFIG_MAP, builders.some(CONFIG_MAP, name, place))
        left = left[len(left) // 2 + 1 :]

    assert tuple(found) == whole
