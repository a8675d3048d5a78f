"""Server-side apply: who owns which field, who may change it, and what goes when nobody wants it any more."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, CORE_KINDS, DATA_VOLUME, POD, SERVICE, Key, Kind, Obj
from diskyard.errors import BadRequest, Conflict, NotFound
from diskyard.kube.client import Patch
from standalone.store import authors, fields, kinds
from standalone.store.authors import Author, Work
from standalone.store.objects import Objects
from tests import builders

KEY = Key("one", "default")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Objects]:
    with Objects.open(tmp_path / "store.db") as opened:
        yield opened


def wish(kind: Kind = CONFIG_MAP, **fields: Any) -> Obj:
    return builders.some(kind, "one", **fields)


def pod(*containers: Obj, **spec: Any) -> Obj:
    return wish(POD, spec={"containers": list(containers), **spec})


def works(obj: Obj) -> dict[str, Any]:
    """Fields by author, as "name operation subresource"."""
    return {
        " ".join([entry["manager"], entry["operation"], entry.get("subresource", "")]).strip(): entry[
            "fieldsV1"
        ]
        for entry in meta.meta(obj).get("managedFields", ())
    }


def applied(store: Objects, author: str, obj: Obj, **how: Any) -> Obj:
    return store.acting(author).apply(CONFIG_MAP if obj["kind"] == "ConfigMap" else POD, obj, **how)[0]


def test_applying_makes_what_is_missing_and_owns_what_it_says(store: Objects) -> None:
    obj, made = store.acting("a").apply(CONFIG_MAP, wish(data={"x": "1"}, metadata={"labels": {"l": "1"}}))

    assert made
    assert works(obj) == {"a Apply": {"f:data": {"f:x": {}}, "f:metadata": {"f:labels": {"f:l": {}}}}}
    entry = meta.meta(obj)["managedFields"][0]
    assert (entry["apiVersion"], entry["fieldsType"], entry["time"]) == (
        "v1", "FieldsV1", meta.meta(obj)["creationTimestamp"],
    )  # fmt: skip


def test_applying_the_same_again_writes_nothing(store: Objects) -> None:
    first = applied(store, "a", wish(data={"x": "1"}))

    again, made = store.acting("a").apply(CONFIG_MAP, wish(data={"x": "1"}))

    assert (again, made) == (first, False)


def test_what_is_no_longer_applied_goes(store: Objects) -> None:
    applied(store, "a", wish(data={"x": "1", "y": "2"}))

    after = applied(store, "a", wish(data={"y": "2"}))

    assert after["data"] == {"y": "2"}
    assert works(after) == {"a Apply": {"f:data": {"f:y": {}}}}


def test_what_another_owns_too_stays(store: Objects) -> None:
    applied(store, "a", wish(data={"x": "1", "y": "2"}))
    applied(store, "b", wish(data={"x": "1"}))

    after = applied(store, "a", wish(data={"y": "2"}))

    assert after["data"] == {"x": "1", "y": "2"}
    assert works(after) == {"a Apply": {"f:data": {"f:y": {}}}, "b Apply": {"f:data": {"f:x": {}}}}


def test_who_applies_what_stands_so_already_has_no_time(store: Objects) -> None:
    applied(store, "one", wish(data={"a": "1"}))

    both = applied(store, "two", wish(data={"a": "1"}))

    assert [each["manager"] for each in meta.meta(both)["managedFields"] if "time" not in each] == ["two"]


def test_a_value_of_anothers_is_a_conflict_and_told_by_field_and_author(store: Objects) -> None:
    applied(store, "a", wish(data={"x": "1"}))

    with pytest.raises(Conflict) as caught:
        applied(store, "b", wish(data={"x": "2", "y": "2"}))

    assert str(caught.value) == 'Apply failed with 1 conflict: conflict with "a": .data.x'
    assert [cause.wire() for cause in caught.value.causes] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "a"', "field": ".data.x"}
    ]


def test_several_conflicts_are_told_author_by_author(store: Objects) -> None:
    applied(store, "a", wish(data={"x": "1", "y": "1"}))
    store.acting("kubectl-edit").patch(CONFIG_MAP, KEY, {"data": {"z": "1"}})

    with pytest.raises(Conflict) as caught:
        applied(store, "b", wish(data={"x": "2", "y": "2", "z": "2"}))

    assert str(caught.value) == (
        'Apply failed with 3 conflicts: conflicts with "a":\n- .data.x\n- .data.y\n'
        'conflicts with "kubectl-edit" using v1:\n- .data.z'
    )


def test_force_takes_fields_over(store: Objects) -> None:
    applied(store, "a", wish(data={"x": "1", "y": "1"}))

    after = applied(store, "b", wish(data={"x": "2"}), force=True)

    assert after["data"] == {"x": "2", "y": "1"}
    assert works(after) == {"a Apply": {"f:data": {"f:y": {}}}, "b Apply": {"f:data": {"f:x": {}}}}


def test_an_ordinary_write_takes_over_what_it_changes(store: Objects) -> None:
    made = applied(store, "a", wish(data={"x": "1", "y": "1"}))

    after = store.acting("kubectl-edit").update(CONFIG_MAP, {**made, "data": {"x": "2", "z": "3"}})

    assert works(after) == {"kubectl-edit Update": {"f:data": {"f:x": {}, "f:z": {}}}}


def test_a_custom_object_that_is_created_is_owned_with_all_that_lies_between(store: Objects) -> None:
    made = store.acting("kubectl-create").create(DATA_VOLUME, builders.data_volume("one"))

    assert works(made) == {
        "kubectl-create Update": {
            "f:spec": {
                ".": {},
                "f:source": {".": {}, "f:http": {".": {}, "f:url": {}}},
                "f:storage": {".": {}, "f:resources": {".": {}, "f:requests": {".": {}, "f:storage": {}}}},
            }
        }
    }


def test_a_pod_that_is_created_is_owned_as_a_real_server_says_it(store: Objects) -> None:
    asked = pod({"name": "main", "image": "i:1", "ports": [{"containerPort": 80}]})
    asked["metadata"]["labels"] = {"run": "one"}

    made = store.acting("kubectl-run").create(POD, asked)

    container = works(made)["kubectl-run Update"]["f:spec"]["f:containers"]['k:{"name":"main"}']
    assert works(made)["kubectl-run Update"]["f:metadata"] == {"f:labels": {".": {}, "f:run": {}}}
    assert container["."] == container["f:image"] == container["f:imagePullPolicy"] == {}
    assert container["f:ports"] == {
        ".": {}, 'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}, "f:protocol": {}},
    }  # fmt: skip
    assert "." not in works(made)["kubectl-run Update"]["f:spec"]


def test_the_status_has_authors_of_its_own(store: Objects) -> None:
    applied(store, "a", pod({"name": "main", "image": "i:1"}))

    after = store.acting("kubelet").patch(POD, KEY, {"status": {"phase": "Running"}}, "status")
    forced = store.acting("b").apply(POD, wish(POD, status={"message": "hm"}), "status")[0]

    assert works(after)["kubelet Update status"] == {"f:status": {"f:phase": {}}}
    assert works(forced)["b Apply status"] == {"f:status": {"f:message": {}}}
    assert meta.status(forced) == {"phase": "Running", "message": "hm", "qosClass": "BestEffort"}
    with pytest.raises(
        Conflict, match=r'conflict with "kubelet" with subresource "status" using v1: \.status\.phase'
    ):
        store.acting("c").apply(POD, wish(POD, status={"phase": "Failed"}), "status")


def test_a_status_that_is_applied_through_the_main_door_is_ignored(store: Objects) -> None:
    after = applied(store, "a", {**pod({"name": "main", "image": "i:1"}), "status": {"phase": "Failed"}})

    assert meta.phase(after) == "Pending"
    assert "f:status" not in works(after)["a Apply"]


def test_lists_of_named_things_are_shared_element_by_element(store: Objects) -> None:
    main, side = {"name": "main", "image": "i:1"}, {"name": "side", "image": "s:1"}
    applied(store, "a", pod(main, side))

    with pytest.raises(Conflict, match=r'conflict with "a": \.spec\.containers\[name="main"\]\.image'):
        applied(store, "b", pod({"name": "main", "image": "i:2"}))
    after = applied(store, "b", pod({"name": "main", "image": "i:2"}), force=True)

    assert [one["name"] for one in meta.spec(after)["containers"]] == ["main", "side"]
    assert [one["image"] for one in meta.spec(after)["containers"]] == ["i:2", "s:1"]


def test_sets_are_shared_member_by_member(store: Objects) -> None:
    for author, name in (("a", "x.example/one"), ("b", "x.example/two")):
        applied(store, author, wish(metadata={"finalizers": [name]}))

    after = applied(store, "a", wish())

    assert meta.meta(after)["finalizers"] == ["x.example/two"]


def test_a_list_without_names_is_owned_as_a_whole(store: Objects) -> None:
    applied(store, "a", pod({"name": "main", "image": "i:1", "args": ["1"]}))

    with pytest.raises(Conflict, match=r'\[name="main"\]\.args$'):
        applied(store, "b", pod({"name": "main", "args": ["1", "2"]}))


def test_ports_are_told_apart_by_number_and_protocol(store: Objects) -> None:
    ports = [{"port": 53, "protocol": "UDP"}, {"port": 53}]

    made = store.acting("a").apply(SERVICE, wish(SERVICE, spec={"ports": ports}))[0]

    assert set(works(made)["a Apply"]["f:spec"]["f:ports"]) == {
        'k:{"port":53,"protocol":"UDP"}', 'k:{"port":53,"protocol":"TCP"}',
    }  # fmt: skip


def test_applying_beside_client_side_apply_takes_over_what_is_the_same(store: Objects) -> None:
    store.acting("kubectl-client-side-apply").create(CONFIG_MAP, wish(data={"x": "1", "y": "1"}))

    after = applied(store, "kubectl", wish(data={"x": "1"}))

    assert after["data"] == {"x": "1", "y": "1"}
    assert works(after)["kubectl Apply"] == {"f:data": {"f:x": {}}}
    assert works(after)["kubectl-client-side-apply Update"] == {"f:data": {".": {}, "f:x": {}, "f:y": {}}}


def test_an_object_that_nobody_signed_has_one_author_before_the_first_apply(store: Objects) -> None:
    made = store.create(CONFIG_MAP, wish(data={"x": "1"}))
    bare = store.update(CONFIG_MAP, {**made, "metadata": {**made["metadata"], "managedFields": [{}]}})
    still = store.patch(CONFIG_MAP, KEY, {"data": {"y": "1"}})

    with pytest.raises(Conflict, match=r'conflict with "before-first-apply" using v1: \.data\.x'):
        applied(store, "a", wish(data={"x": "2"}))

    assert "managedFields" not in meta.meta(bare)
    assert "managedFields" not in meta.meta(still)


def test_updaters_beyond_ten_become_one(store: Objects) -> None:
    applied(store, "a", wish(data={"a": "1"}))
    for number in range(15):
        after = store.acting(f"u{number:02}").patch(CONFIG_MAP, KEY, {"data": {f"k{number}": "1"}})

    updaters = [one for one in works(after) if one.endswith("Update")]
    assert len(updaters) == 10
    assert set(works(after)["ancient-changes Update"]["f:data"]) >= {f"f:k{number}" for number in range(6)}


def test_a_rehearsal_stores_nothing_and_answers_as_ever(store: Objects) -> None:
    obj, made = store.rehearsal().acting("a").apply(CONFIG_MAP, wish(data={"x": "1"}))

    assert made
    assert works(obj) == {"a Apply": {"f:data": {"f:x": {}}}}
    with pytest.raises(NotFound):
        store.get(CONFIG_MAP, KEY)


def test_a_field_that_no_schema_declares_cannot_be_applied(store: Objects) -> None:
    volume = builders.data_volume("one", sorce={})

    with pytest.raises(BadRequest) as caught:
        store.acting("a").apply(DATA_VOLUME, volume)

    assert str(caught.value) == (
        "failed to create typed patch object (default/one; cdi.kubevirt.io/v1beta1, Kind=DataVolume): "
        ".spec.sorce: field not declared in schema"
    )


def test_authors_are_nothing_to_apply(store: Objects) -> None:
    with pytest.raises(BadRequest, match="managedFields must be nil"):
        applied(store, "a", wish(metadata={"managedFields": [{"manager": "b"}]}))


def test_an_old_revision_in_what_is_applied_is_a_conflict(store: Objects) -> None:
    made = applied(store, "a", wish(data={"x": "1"}))
    applied(store, "a", wish(data={"x": "2"}))

    with pytest.raises(Conflict, match="the object has been modified"):
        applied(
            store,
            "a",
            wish(data={"x": "3"}, metadata={"resourceVersion": meta.meta(made)["resourceVersion"]}),
        )


def test_a_merge_patch_is_owned_by_who_sent_it(store: Objects) -> None:
    applied(store, "a", wish(data={"x": "1"}))

    after = store.acting("b").patch(CONFIG_MAP, KEY, {"data": {"x": None, "y": "2"}}, how=Patch.MERGE)

    assert works(after) == {"b Update": {"f:data": {"f:y": {}}}}


@pytest.mark.parametrize(
    "broken", [[{"manager": "x"}], [3], [{"manager": "a", "operation": "Apply", "apiVersion": "v1",
               "fieldsType": "FieldsV1", "fieldsV1": {"f:a": 3}}]],
)  # fmt: skip
def test_authors_that_make_no_sense_leave_the_known_ones(store: Objects, broken: list[Any]) -> None:
    made = applied(store, "a", wish(data={"x": "1"}))

    after = store.acting("b").update(
        CONFIG_MAP,
        {**made, "metadata": {**made["metadata"], "managedFields": broken}, "data": {"x": "1", "y": "2"}},
    )

    assert set(works(after)) == {"a Apply", "b Update"}


def test_authors_are_told_by_time_and_those_of_one_second_by_name_and_version() -> None:
    noon, later = "2026-11-21T12:00:00Z", "2026-11-21T12:00:01Z"
    came = [
        Work(Author(name, operation, version), frozenset({("f:a",)}), time)
        for name, operation, version, time in [
            ("b", authors.UPDATE, "v1", noon), ("a", authors.UPDATE, "v2", noon), ("a", authors.UPDATE, "v1", noon),
            ("0", authors.UPDATE, "v1", later), ("z", authors.APPLY, "v1", later),
        ]
    ]  # fmt: skip

    told = authors.written({work.author.order(): work for work in came})

    said = [(entry["manager"], entry["apiVersion"], entry["time"]) for entry in told]
    assert said == [
        ("z", "v1", later), ("a", "v1", noon), ("a", "v2", noon), ("b", "v1", noon), ("0", "v1", later),
    ]  # fmt: skip


def test_paths_are_read_as_they_are_written() -> None:
    tree = {"f:a": {".": {}, 'k:{"name":"x"}': {".": {}, "f:b": {}}}, "f:c": {'v:"d"': {}}}

    assert fields.written(fields.read(tree)) == tree


@pytest.mark.parametrize("kind", CORE_KINDS, ids=str)
def test_every_kind_of_kubernetes_own_has_a_schema(kind: Kind) -> None:
    known = kinds.node(kind)["properties"]

    assert set(kinds.blank(kind)) <= set(known)
    assert len(known) > 3
    assert all(field["description"] for field in known.values())
