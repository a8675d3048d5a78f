"""Metadata: read from whatever stands there, and the names that we derive."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from diskyard.api import meta
from diskyard.api.meta import CLAIM, DATA_VOLUME, KINDS, POD, Key, Obj
from diskyard.api.names import derived


def test_kinds_are_told_apart_by_their_resource() -> None:
    assert len({kind.resource for kind in KINDS}) == len(KINDS)
    assert (POD.resource, POD.api_version) == ("pods", "v1")
    assert (DATA_VOLUME.resource, DATA_VOLUME.api_version) == (
        "datavolumes.cdi.kubevirt.io", "cdi.kubevirt.io/v1beta1",
    )  # fmt: skip


@pytest.mark.parametrize("obj", [{}, {"metadata": None}, {"metadata": "x", "spec": 3, "status": []}])
def test_reads_nothing_where_nothing_stands(obj: Obj) -> None:
    assert meta.key(obj) == Key("", "")
    assert (meta.labels(obj), meta.annotations(obj), meta.spec(obj), meta.status(obj)) == ({}, {}, {}, {})
    assert (meta.phase(obj), meta.uid(obj), meta.deleting(obj)) == ("", "", False)


def test_one_owner_controls() -> None:
    owner = {"metadata": {"name": "disk", "uid": "u"}}
    other = {"kind": "X", "name": "x", "uid": "v"}
    obj = {"metadata": {"ownerReferences": [other, meta.owner_reference(CLAIM, owner)]}}
    assert meta.owned_by(obj, owner)
    assert not meta.owned_by(obj, {"metadata": {"uid": "v"}})
    assert not meta.owned_by({}, {})


def test_times_are_utc_in_whole_seconds() -> None:
    east = timezone(timedelta(hours=2))
    assert meta.timestamp(datetime(2026, 11, 21, 14, 0, 0, 999, tzinfo=east)) == "2026-11-21T12:00:00Z"
    assert meta.moment("2026-11-21T12:00:00.5Z").astimezone(UTC).microsecond == 500000


def test_a_key_reads_as_kubectl_writes_it() -> None:
    assert (str(Key("a", "here")), str(Key("a"))) == ("here/a", "a")


def test_short_names_stay_as_they_are() -> None:
    assert derived.importer_pod("disk") == "importer-disk"
    assert derived.instance_label("v" * 63) == "v" * 63
    assert derived.instance_label("v" * 64) == "v" * 54 + "-287b0b57"


def test_long_names_are_cut_and_still_told_apart() -> None:
    one, other = derived.importer_pod("d" * 300), derived.importer_pod("d" * 301)
    assert len(one) == len(other) == 253
    assert one != other


def test_a_cut_leaves_no_dangling_dash_or_dot() -> None:
    name = derived.fitted("importer", "a" * 30 + "-." * 10 + "b" * 30, 50)
    assert len(name) <= 50
    assert "--" not in name
    assert ".-" not in name


def test_each_life_of_an_instance_has_a_pod_of_its_own() -> None:
    assert derived.launcher_pod("vm", "u1") != derived.launcher_pod("vm", "u2")
    assert derived.launcher_pod("vm", "u1") != derived.consumer_pod("vm", "u1")
    assert len(derived.launcher_pod("v" * 200, "u1")) <= 63
