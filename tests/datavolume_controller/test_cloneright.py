"""Who may clone what from another namespace: tokens, and the right of a service account."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from datavolume_controller import cloneright
from datavolume_controller.admission import tokened
from datavolume_controller.cloneright import Wish
from diskyard.api import meta, token
from diskyard.api.meta import MACHINE, NAMESPACE, SECRET, Key, Obj
from diskyard.api.names import cdi, clone, upload
from diskyard.kube.access import Access
from standalone.store.objects import Objects
from tests import builders

SOURCE, TARGET = Key("golden", "images"), Key("copy", "team")


@pytest.fixture(scope="module")
def keys() -> tuple[bytes, bytes]:
    return token.keys()


@pytest.fixture
def signing(store: Objects, keys: tuple[bytes, bytes]) -> Objects:
    """A store with the key that signs tokens."""
    store.create(NAMESPACE, builders.namespace(cdi.NAMESPACE))
    entries = dict(
        zip((upload.PRIVATE_KEY, upload.PUBLIC_KEY), (each.decode() for each in keys), strict=True)
    )
    store.create(
        SECRET,
        {
            **builders.secret(upload.SIGNING_KEY, **entries),
            "metadata": {"name": upload.SIGNING_KEY, "namespace": cdi.NAMESPACE},
        },
    )
    return store


def nobody(_user: object, _access: Access) -> bool:
    return False


def wish(**annotations: str) -> Wish:
    return Wish("pvc", SOURCE, TARGET, annotations, "u-1")


def asked(other: Wish | None = None) -> Wish:
    """As the webhook asks for it: its target is not there yet."""
    return replace(other or wish(), uid="")


def test_a_token_for_this_very_clone_is_exchanged_for_a_lasting_one(signing: Objects) -> None:
    first = cloneright.signed(signing, asked())
    found = cloneright.verdict(signing, nobody, wish(**{clone.TOKEN: first}))
    assert (found.refusal, bool(found.lasting)) == ("", True)
    again = cloneright.verdict(signing, nobody, wish(**{clone.LASTING_TOKEN: found.lasting}))
    assert again == cloneright.ALLOWED


def test_a_lasting_token_is_worth_nothing_to_another_claim_of_that_name(signing: Objects) -> None:
    """Whose right was taken away meanwhile has nothing left that he could use again."""
    first = cloneright.signed(signing, asked())
    lasting = cloneright.verdict(signing, nobody, wish(**{clone.TOKEN: first})).lasting

    later = replace(wish(**{clone.LASTING_TOKEN: lasting}), uid="u-2")

    assert cloneright.verdict(signing, nobody, later).refusal
    assert cloneright.verdict(signing, nobody, wish(**{clone.TOKEN: lasting})).refusal
    assert cloneright.verdict(signing, nobody, wish(**{clone.LASTING_TOKEN: first})).refusal


def copied(**metadata: Any) -> Obj:
    source = {"pvc": {"name": SOURCE.name, "namespace": SOURCE.namespace}}
    made = builders.data_volume(TARGET.name, source=source)
    return {**made, "metadata": {**made["metadata"], "namespace": TARGET.namespace, **metadata}}


def test_who_makes_a_datavolume_gets_a_token_and_a_machine_does_not(signing: Objects) -> None:
    machine = meta.owner_reference(MACHINE, builders.stored(builders.machine("vm")))

    assert clone.TOKEN in meta.annotations(tokened(signing, copied()))
    assert clone.TOKEN not in meta.annotations(tokened(signing, copied(ownerReferences=[machine])))


STRANGE = {
    "another source": Wish("pvc", Key("secret", "images"), TARGET, {}),
    "another namespace": Wish("pvc", Key("golden", "others"), TARGET, {}),
    "another target": Wish("pvc", SOURCE, Key("other", "team"), {}),
    "another target's namespace": Wish("pvc", SOURCE, Key("copy", "thieves"), {}),
    "a snapshot of that name": Wish("snapshot", SOURCE, TARGET, {}),
}


@pytest.mark.parametrize("other", STRANGE.values(), ids=STRANGE.keys())
def test_a_token_for_something_else_is_worth_nothing(signing: Objects, other: Wish) -> None:
    text = cloneright.signed(signing, other)
    found = cloneright.verdict(signing, nobody, wish(**{clone.TOKEN: text, clone.LASTING_TOKEN: text}))
    assert "may not be cloned from pvc images/golden" in found.refusal


def test_neither_is_one_that_has_ended_or_was_signed_by_somebody_else(
    signing: Objects, keys: tuple[bytes, bytes]
) -> None:
    ended_ = token.signed(cloneright.grant(asked()), keys[0], datetime.now(UTC) - timedelta(hours=1))
    foreign = token.signed(cloneright.grant(asked()), token.keys()[0], datetime.now(UTC))
    for text in (ended_, foreign, "", "a.b.c", "x" * 100_000):
        assert cloneright.verdict(signing, nobody, wish(**{clone.TOKEN: text})).refusal


def test_an_upload_token_clones_nothing(signing: Objects, keys: tuple[bytes, bytes]) -> None:
    grant = cloneright.grant(asked())
    text = token.signed(
        token.Grant(token.UPLOAD, grant.name, grant.namespace, params=grant.params),
        keys[0],
        datetime.now(UTC),
    )
    assert cloneright.verdict(signing, nobody, wish(**{clone.TOKEN: text})).refusal


def test_without_a_token_the_service_account_of_the_namespace_is_asked_for(signing: Objects) -> None:
    asked: list[tuple[str, Access]] = []

    def may(user: Any, access: Access) -> bool:
        asked.append((user.name, access))
        return access.subresource == "source"

    assert (
        cloneright.verdict(signing, may, wish(**{cdi.POD_SERVICE_ACCOUNT: "builder"})) == cloneright.ALLOWED
    )
    who, access = asked[0]
    assert who == "system:serviceaccount:team:builder"
    assert (access.verb, access.resource, access.subresource) == ("create", "datavolumes", "source")
    assert (access.namespace, access.name) == ("images", "golden")
