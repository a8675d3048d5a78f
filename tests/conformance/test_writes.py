"""Creating, replacing, changing: what any API server must do."""

import threading

import pytest

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, DATA_VOLUME, POD, SECRET, Key, Obj
from diskyard.errors import AlreadyExists, ApiError, BadRequest, Conflict, Invalid, NotFound
from diskyard.kube.client import Client, Patch
from tests import builders


def config_map(name: str, place: str, **entries: str) -> Obj:
    return builders.some(CONFIG_MAP, name, place, data=entries)


def data_volume(name: str, place: str) -> Obj:
    obj = builders.data_volume(name)
    obj["metadata"]["namespace"] = place
    return obj


def test_a_new_object_gets_an_identity(client: Client, place: str) -> None:
    made = client.create(CONFIG_MAP, config_map("one", place, a="1"))

    assert meta.uid(made)
    assert meta.meta(made)["creationTimestamp"].endswith("Z")
    assert int(meta.meta(made)["resourceVersion"]) > 0
    assert client.get(CONFIG_MAP, Key("one", place)) == made


def test_what_comes_out_is_the_callers_own(client: Client, place: str) -> None:
    made = client.create(CONFIG_MAP, config_map("one", place, a="1"))
    made["data"]["a"] = "changed"

    assert client.get(CONFIG_MAP, Key("one", place))["data"] == {"a": "1"}


def test_what_goes_in_stays_the_callers_own(client: Client, place: str) -> None:
    asked = config_map("one", place, a="1")
    client.create(CONFIG_MAP, asked)

    assert asked == config_map("one", place, a="1")


def test_a_name_can_be_used_once(client: Client, place: str) -> None:
    client.create(DATA_VOLUME, data_volume("one", place))

    with pytest.raises(AlreadyExists, match=r'datavolumes\.cdi\.kubevirt\.io "one" already exists'):
        client.create(DATA_VOLUME, data_volume("one", place))


def test_a_generated_name_begins_as_asked_and_is_new_each_time(client: Client, place: str) -> None:
    asked = config_map("", place) | {"metadata": {"generateName": "many-", "namespace": place}}

    names = {meta.name(client.create(CONFIG_MAP, asked)) for _ in range(5)}

    assert len(names) == 5
    assert all(name.startswith("many-") and len(name) == len("many-") + 5 for name in names)


def test_what_is_not_there_is_not_found_in_kubernetes_words(client: Client, place: str) -> None:
    with pytest.raises(NotFound, match=r'^pods "x" not found$') as caught:
        client.get(POD, Key("x", place))

    assert caught.value.details == {"name": "x", "kind": "pods"}


def test_a_missing_namespace_is_what_is_not_found(client: Client) -> None:
    with pytest.raises(NotFound, match=r'^namespaces "nowhere" not found$'):
        client.create(CONFIG_MAP, config_map("one", "nowhere"))


@pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "x" * 254, "dot."])
def test_a_name_that_dns_would_not_take_is_invalid(client: Client, place: str, name: str) -> None:
    with pytest.raises(Invalid) as caught:
        client.create(CONFIG_MAP, config_map(name, place))

    assert caught.value.causes[0].field == "metadata.name"


@pytest.mark.parametrize("labels", [{"a b": "c"}, {"a": "b c"}, {"a": "x" * 64}, {"/a": "b"}, {"A.b/": "c"}])
def test_a_label_out_of_rule_is_invalid(client: Client, place: str, labels: dict[str, str]) -> None:
    with pytest.raises(Invalid) as caught:
        client.create(CONFIG_MAP, builders.some(CONFIG_MAP, "one", place, metadata={"labels": labels}))

    assert {cause.field for cause in caught.value.causes} == {"metadata.labels"}


def test_an_update_of_what_has_moved_on_is_a_conflict(client: Client, place: str) -> None:
    stale = client.create(DATA_VOLUME, data_volume("one", place))
    client.patch(DATA_VOLUME, Key("one", place), {"metadata": {"labels": {"a": "b"}}})

    with pytest.raises(
        Conflict, match="the object has been modified; please apply your changes to the latest"
    ):
        client.update(DATA_VOLUME, stale)


def test_a_patch_that_names_an_old_version_is_a_conflict(client: Client, place: str) -> None:
    made = client.create(CONFIG_MAP, config_map("one", place))
    client.patch(CONFIG_MAP, Key("one", place), {"data": {"a": "1"}})
    old = {"metadata": {"resourceVersion": meta.meta(made)["resourceVersion"]}, "data": {"a": "2"}}

    with pytest.raises(Conflict):
        client.patch(CONFIG_MAP, Key("one", place), old)


def test_an_update_that_means_another_life_of_the_name_is_a_conflict(client: Client, place: str) -> None:
    made = client.create(CONFIG_MAP, config_map("one", place))
    made["metadata"] |= {"uid": "00000000-0000-4000-8000-000000000000"}

    with pytest.raises(Conflict):
        client.update(CONFIG_MAP, made)


def test_a_write_that_changes_nothing_writes_nothing(client: Client, place: str) -> None:
    made = client.create(CONFIG_MAP, config_map("one", place, a="1"))

    assert client.update(CONFIG_MAP, made) == made
    assert client.patch(CONFIG_MAP, Key("one", place), {"data": {"a": "1"}}) == made


def test_identity_cannot_be_changed(client: Client, place: str) -> None:
    made = client.create(CONFIG_MAP, config_map("one", place))

    forged = {"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z"}}
    after = client.patch(CONFIG_MAP, Key("one", place), forged)

    assert after == made


def test_nobody_writes_when_an_object_goes(client: Client, place: str) -> None:
    client.create(CONFIG_MAP, config_map("one", place))

    with pytest.raises(Invalid, match=r"metadata\.deletionTimestamp: .*field is immutable"):
        client.patch(
            CONFIG_MAP, Key("one", place), {"metadata": {"deletionTimestamp": "2001-01-01T00:00:00Z"}}
        )


def test_generation_counts_changes_of_the_spec_only(client: Client, place: str) -> None:
    key = Key("one", place)
    client.create(DATA_VOLUME, data_volume("one", place))

    labelled = client.patch(DATA_VOLUME, key, {"metadata": {"labels": {"a": "b"}}})
    reported = client.patch(DATA_VOLUME, key, {"status": {"phase": "Pending"}}, "status")
    changed = client.patch(DATA_VOLUME, key, {"spec": {"priorityClassName": "high"}})

    assert [meta.meta(obj)["generation"] for obj in (labelled, reported, changed)] == [1, 1, 2]


def test_status_is_written_apart(client: Client, place: str) -> None:
    key = Key("one", place)
    client.create(DATA_VOLUME, {**data_volume("one", place), "status": {"phase": "Succeeded"}})

    ignored = client.patch(DATA_VOLUME, key, {"status": {"phase": "Succeeded"}})
    written = client.patch(
        DATA_VOLUME, key, {"status": {"phase": "Pending"}, "spec": {"preallocation": True}}, "status"
    )

    assert meta.status(ignored) == {}
    assert meta.status(written) == {"phase": "Pending"}
    assert "preallocation" not in meta.spec(written)


def test_an_update_of_the_status_leaves_all_else(client: Client, place: str) -> None:
    made = client.create(DATA_VOLUME, data_volume("one", place))
    asked = {
        **made,
        "status": {"progress": "10%"},
        "spec": {},
        "metadata": {**made["metadata"], "labels": {"a": "b"}},
    }

    after = client.update(DATA_VOLUME, asked, "status")

    assert meta.status(after) == {"progress": "10%"}
    assert meta.spec(after) == meta.spec(made)
    assert meta.labels(after) == {}


def test_a_subresource_that_is_not_served_is_not_found(client: Client, place: str) -> None:
    client.create(CONFIG_MAP, config_map("one", place))

    with pytest.raises(NotFound):
        client.patch(CONFIG_MAP, Key("one", place), {"status": {}}, "status")


def test_a_merge_patch_takes_away_what_is_null(client: Client, place: str) -> None:
    client.create(CONFIG_MAP, config_map("one", place, a="1", b="2"))

    after = client.patch(CONFIG_MAP, Key("one", place), {"data": {"a": None, "c": "3"}})

    assert after["data"] == {"b": "2", "c": "3"}


def test_a_json_patch_is_applied_in_order(client: Client, place: str) -> None:
    client.create(CONFIG_MAP, config_map("one", place, a="1"))
    operations = [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "move", "from": "/data/a", "path": "/data/b"},
        {"op": "add", "path": "/data/c", "value": "3"},
    ]

    after = client.patch(CONFIG_MAP, Key("one", place), operations, how=Patch.JSON)

    assert after["data"] == {"b": "1", "c": "3"}


@pytest.mark.parametrize(
    ("operations", "error"),
    [
        ([{"op": "test", "path": "/data/a", "value": "2"}], Invalid),
        ([{"op": "replace", "path": "/no/such", "value": "2"}], Invalid),
        ([{"op": "conjure", "path": "/data/a"}], Invalid),
        ({"op": "add"}, BadRequest),
    ],
)
def test_a_json_patch_that_cannot_be_applied_changes_nothing(
    client: Client, place: str, operations: list[Obj], error: type[ApiError]
) -> None:
    made = client.create(CONFIG_MAP, config_map("one", place, a="1"))

    with pytest.raises(error):
        client.patch(CONFIG_MAP, Key("one", place), operations, how=Patch.JSON)

    assert client.get(CONFIG_MAP, Key("one", place)) == made


def test_a_strategic_patch_merges_containers_by_name(client: Client, place: str) -> None:
    pod = builders.pod("one")
    pod["metadata"]["namespace"] = place
    client.create(POD, pod)
    patch = {"spec": {"containers": [{"name": "main", "image": "diskyard:2"}]}}

    after = client.patch(POD, Key("one", place), patch, how=Patch.STRATEGIC)

    container = meta.spec(after)["containers"][0]
    assert (container["image"], container["command"]) == ("diskyard:2", ["true"])


def test_a_secret_is_told_in_plain_text_and_kept_encoded(client: Client, place: str) -> None:
    made = client.create(SECRET, builders.some(SECRET, "one", place, stringData={"user": "me"}))

    assert made["data"] == {"user": "bWU="}
    assert "stringData" not in made


def test_a_wrong_type_is_named_by_its_field(client: Client, place: str) -> None:
    wrong = data_volume("one", place)
    wrong["spec"]["source"]["http"]["url"] = 3

    with pytest.raises(
        Invalid, match=r'DataVolume\.cdi\.kubevirt\.io "one" is invalid: spec\.source\.http\.url: '
    ) as caught:
        client.create(DATA_VOLUME, wrong)

    assert [cause.field for cause in caught.value.causes] == ["spec.source.http.url"]


def test_fields_that_the_schema_does_not_know_are_dropped(client: Client, place: str) -> None:
    asked = data_volume("one", place)
    asked["spec"]["nonsense"] = {"a": 1}

    made = client.create(DATA_VOLUME, asked)

    assert "nonsense" not in meta.spec(made)


def test_writers_that_name_no_version_do_not_lose_each_others_work(client: Client, place: str) -> None:
    client.create(CONFIG_MAP, config_map("one", place))

    def write(number: int) -> None:
        for i in range(5):
            client.patch(CONFIG_MAP, Key("one", place), {"data": {f"{number}-{i}": "x"}})

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert len(client.get(CONFIG_MAP, Key("one", place))["data"]) == 20


def test_of_writers_with_one_version_exactly_one_wins(client: Client, place: str) -> None:
    made = client.create(CONFIG_MAP, config_map("one", place))
    outcomes: list[bool] = []

    def write(number: int) -> None:
        try:
            client.update(CONFIG_MAP, {**made, "data": {"winner": str(number)}})
        except Conflict:
            outcomes.append(False)
        else:
            outcomes.append(True)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert sorted(outcomes) == [False, False, False, True]
