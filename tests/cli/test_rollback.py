"""Which images a DataSource can go back to."""

import pytest

from cli.pointing import gone_back, moved
from cli.rollback import image_before, kept
from datavolume_controller.datasources import Named
from diskyard.api import meta
from diskyard.api.boottest import Verdict
from diskyard.api.cron import standing_for
from diskyard.api.meta import CLAIM, DATA_SOURCE, EVENT, Key, Obj
from diskyard.api.names import cdi
from diskyard.errors import InvalidRequest
from diskyard.kube.client import Selection
from standalone.store.objects import Objects
from tests import builders


def an_image(store: Objects, number: int, name: str = "", **said: str) -> str:
    claim = builders.claim(name or f"debian-{number:012x}")
    claim["metadata"] |= {
        "labels": {cdi.CRON_LABEL: "nightly"},
        "annotations": {
            cdi.DIGEST: f"sha256:{number:012x}{0:052x}",
            cdi.POD_PHASE: "Succeeded",
            cdi.LAST_USE_TIME: f"2026-01-{number:02}T00:00:00Z",
            **said,
        },
    }
    store.create(CLAIM, claim)
    return meta.name(claim)


def a_source(at: str) -> Obj:
    spec = standing_for(Key(at, "default"))
    return builders.some(DATA_SOURCE, "debian", spec=spec, metadata={"labels": {cdi.CRON_LABEL: "nightly"}})


def test_the_image_before_is_the_one_that_was_used_before(store: Objects) -> None:
    first, second = an_image(store, 1), an_image(store, 2)
    images = kept(store, a_source(second))
    assert list(images) == [second, first]
    assert image_before(a_source(second), images) == first
    with pytest.raises(InvalidRequest, match="no image before"):
        image_before(a_source(first), images)


def test_neither_a_guests_disk_nor_half_an_image_nor_one_that_does_not_boot_is_gone_back_to(
    store: Objects,
) -> None:
    good = an_image(store, 1)
    an_image(store, 2, name="a-guests-disk")
    an_image(store, 3, **{cdi.POD_PHASE: "Running"})
    an_image(store, 4, **{cdi.BOOT_TEST: Verdict("mark", "panic").to_text()})
    booted = an_image(store, 5, **{cdi.BOOT_TEST: Verdict("mark").to_text()})
    assert list(kept(store, a_source(booted))) == [booted, good]


def test_a_data_source_without_a_cron_has_no_images(store: Objects) -> None:
    with pytest.raises(InvalidRequest, match="kept current by no DataImportCron"):
        kept(store, builders.some(DATA_SOURCE, "mine", spec={}))


def a_captured_one(store: Objects) -> Obj:
    """A DataSource that `capture` has moved from the claim `first` to the snapshot `second`."""
    store.create(CLAIM, builders.claim("first"))
    made = store.create(
        DATA_SOURCE, builders.some(DATA_SOURCE, "mine", spec={"source": named_by("pvc", "first")})
    )
    moved(store, made, Named("snapshot", Key("second", "default")), "disk root of builder")
    return store.get(DATA_SOURCE, Key("mine", "default"))


def named_by(entry: str, name: str) -> Obj:
    return {entry: {"namespace": "default", "name": name}}


def test_a_move_is_told_with_where_from_and_where_to(store: Objects) -> None:
    obj = a_captured_one(store)

    assert meta.spec(obj)["source"] == named_by("snapshot", "second")
    (told,) = store.list(EVENT, Selection("default")).items
    assert told["message"] == "from pvc default/first to snapshot default/second (disk root of builder)"


def test_what_was_captured_before_is_gone_back_to_as_long_as_it_is_there(store: Objects) -> None:
    obj = a_captured_one(store)
    with pytest.raises(InvalidRequest, match="no image other to go back to: it stood for pvc default/first"):
        gone_back(store, obj, "other")
    assert gone_back(store, obj, "first") == Named("pvc", Key("first", "default"))

    obj = store.get(DATA_SOURCE, Key("mine", "default"))
    assert meta.spec(obj)["source"] == named_by("pvc", "first")
    with pytest.raises(InvalidRequest, match="stood for snapshot default/second before, which is not there"):
        gone_back(store, obj)


def test_what_was_never_moved_has_nothing_to_go_back_to(store: Objects) -> None:
    with pytest.raises(InvalidRequest, match="no `diskyard capture` has moved it"):
        gone_back(store, builders.some(DATA_SOURCE, "mine", spec={}))
