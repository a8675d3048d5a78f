"""What the yard's server adds to a Client: rules of others, dry runs, custom kinds, versions."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson
import pytest

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, CRD, DATA_VOLUME, MACHINE, POD, Key, Kind, Obj
from diskyard.api.user import User
from diskyard.errors import BadRequest, Cause, Invalid, NotFound
from standalone.store import convert
from standalone.store.objects import Objects
from tests import builders

WIDGET = Kind("tests.example", "v1", "Widget", "widgets")
WIDGETS: Obj = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.tests.example"},
    "spec": {
        "group": "tests.example",
        "scope": "Namespaced",
        "names": {"kind": "Widget", "plural": "widgets"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {"type": "object", "properties": {"size": {"type": "integer"}}}
                        },
                    }
                },
            }
        ],
    },
}


class House:
    """Rules of an owner: DataVolumes are stamped, and none is called `no`."""

    def advise(self, kind: Kind, obj: Obj) -> Sequence[str]:
        return ()

    def mutate(self, kind: Kind, obj: Obj, old: Obj | None, user: User | None) -> Obj:
        if kind != DATA_VOLUME:
            return obj
        labels = {**meta.labels(obj), "stamped": "again" if old else "once"}
        return {**obj, "metadata": {**obj["metadata"], "labels": labels}}

    def validate(self, kind: Kind, obj: Obj, old: Obj | None, user: User | None) -> Sequence[Cause]:
        if meta.name(obj) == "no":
            return (Cause("we do not like it", "metadata.name"),)
        return ()


@pytest.fixture
def ruled(tmp_path: Path) -> Iterator[Objects]:
    with Objects.open(tmp_path / "ruled.db", House()) as objects:
        yield objects


def test_owners_rules_change_what_is_stored(ruled: Objects) -> None:
    made = ruled.create(DATA_VOLUME, builders.data_volume("one"))
    after = ruled.patch(DATA_VOLUME, meta.key(made), {"metadata": {"labels": {"a": "b"}}})
    told = ruled.patch(DATA_VOLUME, meta.key(made), {"status": {"phase": "Pending"}}, "status")

    assert meta.labels(made) == {"stamped": "once"}
    assert meta.labels(told) == meta.labels(after) == {"stamped": "again", "a": "b"}


def test_owners_rules_refuse_in_the_words_of_a_webhook(ruled: Objects) -> None:
    with pytest.raises(Invalid) as caught:
        ruled.create(DATA_VOLUME, builders.data_volume("no"))

    text = 'admission webhook "datavolume-validate.cdi.kubevirt.io" denied the request:  we do not like it'
    assert str(caught.value) == text
    assert caught.value.causes[0].field == "metadata.name"


def test_a_dry_run_answers_as_ever_and_stores_nothing(store: Objects) -> None:
    made = store.create(CONFIG_MAP, builders.config_map("one", a="1"))
    rehearsal = store.rehearsal()

    fresh = rehearsal.create(CONFIG_MAP, builders.config_map("two"))
    changed = rehearsal.patch(CONFIG_MAP, meta.key(made), {"data": {"a": "2"}})
    rehearsal.delete(CONFIG_MAP, meta.key(made))

    assert meta.uid(fresh)
    assert "resourceVersion" not in meta.meta(fresh)
    assert changed["data"] == {"a": "2"}
    assert store.list(CONFIG_MAP).items == (made,)


def test_a_dry_run_refuses_as_ever(store: Objects) -> None:
    with pytest.raises(Invalid):
        store.rehearsal().create(POD, builders.pod("one", containers=[]))


def test_the_kinds_of_our_crds_are_served(store: Objects) -> None:
    served = {one.kind.resource: one for one in store.served()}
    ours = served[DATA_VOLUME.resource]

    assert ours.kind is DATA_VOLUME
    assert ours.status
    assert set(ours.versions) == {"v1beta1", "v1alpha1"}
    assert [column["name"] for column in ours.versions["v1beta1"].columns][:2] == ["Phase", "Progress"]
    assert meta.condition(store.get(CRD, Key(DATA_VOLUME.resource)), "Established")


def test_a_kind_that_nobody_described_is_not_served(store: Objects) -> None:
    with pytest.raises(NotFound, match="the server could not find the requested resource"):
        store.list(WIDGET)


def test_a_crd_brings_its_kind_also_after_a_restart(tmp_path: Path) -> None:
    with Objects.open(tmp_path / "store.db") as objects:
        objects.create(CRD, WIDGETS)
        objects.create(WIDGET, builders.some(WIDGET, "one", spec={"size": 1}))

    with Objects.open(tmp_path / "store.db") as objects:
        found = objects.get(WIDGET, Key("one", "default"))
        with pytest.raises(
            Invalid, match=r'Widget\.tests\.example "two" is invalid: spec\.size: Invalid value'
        ):
            objects.create(WIDGET, builders.some(WIDGET, "two", spec={"size": "big"}))

    assert meta.spec(found) == {"size": 1}


def test_a_crd_out_of_shape_is_refused(store: Objects) -> None:
    with pytest.raises(Invalid, match="exactly one version marked as storage version"):
        store.register({**WIDGETS, "spec": {**WIDGETS["spec"], "versions": []}})


def test_a_restart_writes_nothing(tmp_path: Path) -> None:
    with Objects.open(tmp_path / "store.db") as objects:
        before = objects.list(CRD).resource_version
    with Objects.open(tmp_path / "store.db") as objects:
        assert objects.list(CRD).resource_version == before


def test_what_a_schema_does_not_know_can_be_asked_for(store: Objects) -> None:
    assert store.unknown(DATA_VOLUME, builders.data_volume("one", colour="red")) == ["spec.colour"]
    assert store.unknown(POD, builders.pod("one", colour="red")) == ["spec.colour"]


def test_an_object_is_written_and_read_in_an_older_version(store: Objects) -> None:
    old = convert.api_version(MACHINE, "v1alpha3")
    made = store.create(MACHINE, convert.as_version(builders.machine("one"), old))
    record = store.record(MACHINE, meta.key(made))

    answered = orjson.loads(convert.body_as_version(record.body, MACHINE, "v1alpha3"))

    assert made["apiVersion"] == "kubevirt.io/v1"
    assert answered == {**made, "apiVersion": old}


def test_an_update_of_a_custom_object_names_the_version_it_means(store: Objects) -> None:
    made = store.create(DATA_VOLUME, builders.data_volume("one"))
    del made["metadata"]["resourceVersion"]

    with pytest.raises(
        Invalid, match=r"metadata\.resourceVersion: Invalid value: 0: must be specified for an update"
    ):
        store.update(DATA_VOLUME, made)


@pytest.mark.parametrize(
    "obj",
    [
        builders.some(POD, "x") | {"kind": "Secret"},
        builders.some(POD, "x") | {"apiVersion": "apps/v1"},
        {"kind": "Pod"},
        [],
        builders.some(CONFIG_MAP, "x", ""),
    ],
)
def test_a_body_of_another_kind_is_a_bad_request(store: Objects, obj: Obj) -> None:
    with pytest.raises(BadRequest):
        store.create(POD, obj)
