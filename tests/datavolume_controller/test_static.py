"""Volumes that were made by hand for a DataVolume's claim: what they hold is taken as it is."""

from collections.abc import Iterator
from typing import Any

import pytest

from datavolume_controller.progress import Scraper
from diskyard.api import meta
from diskyard.api.meta import CLAIM, DATA_VOLUME, POD, VOLUME, Key, Obj
from diskyard.api.names import cdi
from standalone.store.objects import Objects
from tests import builders
from tests.datavolume_controller.conftest import Node, condition, prepared
from tests.datavolume_controller.steps import Steps, of_volumes

HERE = Key("disk", "default")
SOURCES: dict[str, Any] = {
    "import": {"http": {"url": "http://images.example/disk.img"}},
    "upload": {"upload": {}},
}


@pytest.fixture
def steps(store: Objects) -> Iterator[Steps]:
    prepared(store)
    with Scraper(fetch=lambda _: "") as scraper:
        yield Steps(store, of_volumes(scraper))


def kept(store: Objects, name: str) -> None:
    """A volume that is kept for the claim."""
    reference = {"kind": "PersistentVolumeClaim", "namespace": "default", "name": "disk"}
    store.create(VOLUME, builders.volume(name, claimRef=reference, storageClassName="local"))
    store.patch(VOLUME, Key(name), {"status": {"phase": "Available"}}, "status")


def asked(store: Objects, source: str = "import", **annotations: str) -> None:
    dv = builders.data_volume("disk", source=SOURCES[source])
    dv["metadata"]["annotations"] = {cdi.CHECK_STATIC: "", **annotations}
    store.create(DATA_VOLUME, dv)


def bind(store: Objects, volume: str) -> None:
    store.patch(CLAIM, HERE, {"spec": {"volumeName": volume}})
    store.patch(CLAIM, HERE, {"status": {"phase": "Bound"}}, "status")


def dv(store: Objects) -> Obj:
    return store.get(DATA_VOLUME, HERE)


@pytest.mark.parametrize("source", SOURCES)
def test_a_claim_that_is_bound_to_a_volume_made_for_it_is_filled(
    store: Objects, steps: Steps, source: str
) -> None:
    kept(store, "by-hand")
    asked(store, source)
    steps.settle()
    waiting = meta.phase(dv(store)), meta.annotations(store.get(CLAIM, HERE))[cdi.VOLUME_LIST]

    bind(store, "by-hand")
    steps.settle()

    said = meta.annotations(store.get(CLAIM, HERE))
    assert waiting == ("Pending", '["by-hand"]')
    assert (meta.phase(dv(store)), said.get(cdi.POPULATED_FOR), cdi.VOLUME_LIST in said) == (
        "Succeeded",
        "disk",
        False,
    )
    assert store.list(POD).items == ()


def test_a_claim_that_got_another_volume_is_made_again(store: Objects, steps: Steps) -> None:
    kept(store, "by-hand")
    asked(store)
    steps.settle()
    before = meta.uid(store.get(CLAIM, HERE))

    bind(store, "somebody-elses")
    steps.settle()
    store.patch(CLAIM, HERE, {"metadata": {"finalizers": None}})
    steps.settle()

    assert meta.uid(store.get(CLAIM, HERE)) != before
    assert "ErrUnexpectedVolume: DataVolume bound to unexpected PV somebody-elses" in Node(store).told(
        "DataVolume"
    )
    assert meta.phase(dv(store)) == "Pending"


def test_without_such_a_volume_it_is_imported_as_ever(store: Objects, steps: Steps) -> None:
    asked(store)
    steps.settle()

    assert cdi.VOLUME_LIST not in meta.annotations(store.get(CLAIM, HERE))
    assert cdi.IMPORT_SOURCE in meta.annotations(store.get(CLAIM, HERE))


BOUND_BEFORE: dict[str, tuple[dict[str, str], dict[str, str], str, str]] = {
    "somebody's own": ({}, {}, "Pending", "ErrResourceExists"),
    "for which the owner allows it": ({}, {cdi.ALLOW_ADOPTION: "true"}, "Succeeded", "Bound"),
    "restored for it": ({cdi.POPULATED_FOR: "disk"}, {}, "Succeeded", "Bound"),
}


@pytest.mark.parametrize(("said", "wish", "phase", "reason"), BOUND_BEFORE.values(), ids=BOUND_BEFORE)
def test_a_claim_that_was_bound_before(
    store: Objects, steps: Steps, said: dict[str, str], wish: dict[str, str], phase: str, reason: str
) -> None:
    claim = builders.claim("disk", storageClassName="local")
    claim["metadata"]["annotations"] = said
    store.create(CLAIM, claim)
    bind(store, "by-hand")
    asked(store, **wish)
    steps.settle()

    assert (meta.phase(dv(store)), condition(dv(store), "Bound")[1]) == (phase, reason)
    assert store.list(POD).items == ()
