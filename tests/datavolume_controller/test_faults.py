"""A server that refuses, forgets, hangs or hangs up before or after it has done what was asked: all converges."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from datavolume_controller import reconcilers
from datavolume_controller.progress import Scraper
from diskyard.api import meta
from diskyard.api.meta import CLAIM, DATA_VOLUME, POD, STORAGE_CLASS, Key
from diskyard.api.names import cdi
from diskyard.kube.controller import Controllers
from diskyard.kube.http import connect
from diskyard.kube.reconcile import find
from tests import builders
from tests.builders import eventually
from tests.datavolume_controller.conftest import condition, prepared
from tests.datavolume_controller.pretended import pretending
from tests.kube.proxy import ON_OTHERS, ON_WATCHES, Faults, proxied
from tests.served import Yard, served

COUNT = 12
PATIENCE = 2.0
"""Seconds that the controllers wait for an answer."""


@contextmanager
def troubled(folder: Path, faults: Faults) -> Iterator[Yard]:
    """A server with the controllers at work on it, over a way on which things go wrong."""
    with served(folder / "yard") as yard, pretending(yard.store):
        prepared(yard.store)
        with (
            proxied(yard, folder / "proxy", faults) as kubeconfig,
            closing(connect(kubeconfig, PATIENCE)) as client,
            Scraper(fetch=lambda _: "") as scraper,
        ):
            controllers = Controllers(client, reconcilers(scraper))
            controllers.start()
            try:
                yield yard
            finally:
                faults.rate = 0.0
                controllers.stop()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_everything_converges_on_a_way_where_things_go_wrong(tmp_path: Path, seed: int) -> None:
    faults = Faults(seed, rate=0.2)
    with troubled(tmp_path, faults) as yard:
        for number in range(COUNT):
            yard.store.create(DATA_VOLUME, builders.data_volume(f"disk-{number}", source={"blank": {}}))

        def filled() -> bool:
            every = yard.store.list(DATA_VOLUME).items
            assert {meta.phase(each) for each in every} == {"Succeeded"}, faults.seen
            return True

        eventually(filled, 120)
        eventually(lambda: not yard.store.list(POD).items, 120)
        claims = {meta.name(each): each for each in yard.store.list(CLAIM).items}
        assert sorted(claims) == sorted(f"disk-{number}" for number in range(COUNT))
        for number in range(COUNT):
            dv = yard.store.get(DATA_VOLUME, Key(f"disk-{number}", "default"))
            assert dv["status"]["progress"] == "100.0%"
            assert [condition(dv, kind)[0] for kind in ("Bound", "Ready", "Running")] == [
                "True",
                "True",
                "False",
            ]
            claim = claims[f"disk-{number}"]
            assert meta.owned_by(claim, dv)
            assert meta.annotations(claim).get(cdi.POD_PHASE) == "Succeeded"
    assert set(faults.seen) == {*ON_WATCHES, *ON_OTHERS}


def test_a_class_that_comes_late_and_disappears_again_loses_nothing(tmp_path: Path) -> None:
    with troubled(tmp_path, Faults(4, rate=0.1)) as yard:
        dv, key = builders.data_volume("waits", source={"blank": {}}), Key("waits", "default")
        dv["spec"]["storage"]["storageClassName"] = "late"
        yard.store.create(DATA_VOLUME, dv)
        eventually(lambda: "late" in condition(yard.store.get(DATA_VOLUME, key), "Bound")[2], 60)
        yard.store.create(STORAGE_CLASS, builders.storage_class("late"))
        eventually(lambda: meta.phase(yard.store.get(DATA_VOLUME, key)) == "Succeeded", 120)
        yard.store.delete(STORAGE_CLASS, Key("late"))

        other = Key("other", "default")
        yard.store.create(DATA_VOLUME, builders.data_volume("other", source={"blank": {}}))
        eventually(lambda: meta.phase(yard.store.get(DATA_VOLUME, other)) == "Succeeded", 120)

        assert meta.phase(yard.store.get(DATA_VOLUME, key)) == "Succeeded"


def test_a_claim_that_somebody_deletes_is_made_and_filled_again(tmp_path: Path) -> None:
    with troubled(tmp_path, Faults(5, rate=0.1)) as yard:
        key = Key("gone", "default")
        yard.store.create(DATA_VOLUME, builders.data_volume("gone", source={"blank": {}}))
        eventually(lambda: meta.phase(yard.store.get(DATA_VOLUME, key)) == "Succeeded", 120)
        before = meta.uid(yard.store.get(CLAIM, key))
        yard.store.delete(CLAIM, key)

        def again() -> bool:
            claim = find(yard.store, CLAIM, key) or {}
            filled = meta.annotations(claim).get(cdi.POD_PHASE) == "Succeeded"
            return filled and meta.uid(claim) != before

        eventually(again, 120)
        eventually(lambda: meta.phase(yard.store.get(DATA_VOLUME, key)) == "Succeeded", 120)


def test_a_manifest_of_a_megabyte_that_no_claim_can_carry_says_so_and_keeps_nobody_waiting(
    tmp_path: Path,
) -> None:
    with troubled(tmp_path, Faults(8, rate=0.0)) as yard:
        headers = [f"X-{number}: " + "x" * 20_000 for number in range(55)]
        source = {"http": {"url": "http://images.example/disk.img", "extraHeaders": headers}}
        yard.store.create(DATA_VOLUME, builders.data_volume("huge", source=source))
        yard.store.create(DATA_VOLUME, builders.data_volume("small", source={"blank": {}}))

        key = Key("small", "default")
        eventually(lambda: meta.phase(yard.store.get(DATA_VOLUME, key)) == "Succeeded", 120)

        def said() -> str:
            return condition(yard.store.get(DATA_VOLUME, Key("huge", "default")), "Bound")[2]

        eventually(lambda: "annotations" in said(), 60)


def test_a_manifest_of_a_quarter_of_a_megabyte_is_worked_on(tmp_path: Path) -> None:
    with troubled(tmp_path, Faults(6, rate=0.0)) as yard:
        dv = builders.data_volume("large", source={"blank": {}})
        dv["metadata"]["annotations"] = {f"example.com/{number}": "x" * 20_000 for number in range(12)}
        yard.store.create(DATA_VOLUME, dv)
        key = Key("large", "default")
        eventually(lambda: meta.phase(yard.store.get(DATA_VOLUME, key)) == "Succeeded", 120)


def test_fields_of_a_newer_cdi_are_let_be(tmp_path: Path) -> None:
    with troubled(tmp_path, Faults(7, rate=0.0)) as yard:
        dv = builders.data_volume("newer", source={"blank": {"speed": "high"}}, fromTheFuture={"a": [1, 2]})
        yard.store.create(DATA_VOLUME, {**dv, "status": {"unheardOf": True}})
        key = Key("newer", "default")
        eventually(lambda: meta.phase(yard.store.get(DATA_VOLUME, key)) == "Succeeded", 120)
