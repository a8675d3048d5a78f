"""What a server fills in and refuses of claims."""

import pytest

from diskyard.api import meta
from diskyard.api.meta import Obj
from diskyard.api.rules.claim import Facts, causes, defaults, stays
from diskyard.api.storage import StorageClass
from tests import builders

CLASSES = Facts((StorageClass("local", default=True), StorageClass("guests", virt_default=True)))


def test_the_default_class_and_mode_are_filled_in() -> None:
    spec = meta.spec(defaults(builders.claim("disk"), CLASSES))
    assert (spec["storageClassName"], spec["volumeMode"]) == ("local", "Filesystem")


def test_what_is_named_stays() -> None:
    asked = builders.claim("disk", storageClassName="", volumeMode="Block")
    assert defaults(asked, CLASSES) == asked


def test_without_a_default_no_class_is_filled_in() -> None:
    assert "storageClassName" not in meta.spec(defaults(builders.claim("disk"), Facts()))


REFUSED: dict[str, tuple[Obj, str]] = {
    "no access mode": (builders.claim("disk", accessModes=[]), "spec.accessModes"),
    "an unknown access mode": (builders.claim("disk", accessModes=["ReadNever"]), "spec.accessModes"),
    "an unknown volume mode": (builders.claim("disk", volumeMode="Tape"), "spec.volumeMode"),
    "no size": (builders.claim("disk", resources={}), "spec.resources.requests.storage"),
    "nothing for a size": (builders.claim("disk", "0"), "spec.resources.requests.storage"),
    "a word for a size": (builders.claim("disk", "big"), "spec.resources.requests.storage"),
}


@pytest.mark.parametrize(("obj", "field"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(obj: Obj, field: str) -> None:
    assert [each.field for each in causes(obj, None)] == [field]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"volumeMode": "Block"}, "spec.volumeMode"),
        ({"accessModes": ["ReadWriteMany"]}, "spec.accessModes"),
        ({"storageClassName": "other"}, "spec.storageClassName"),
        ({"volumeName": "other"}, "spec.volumeName"),
    ],
)
def test_what_is_settled_stays(changed: Obj, field: str) -> None:
    settled = {"volumeMode": "Filesystem", "storageClassName": "local", "volumeName": "v"}
    old = builders.claim("disk", **settled)
    later = builders.claim("disk", **{**settled, **changed})
    assert [each.field for each in causes(later, old)] == [field]


HAS = {"phase": "Bound", "capacity": {"storage": "4Gi"}}


@pytest.mark.parametrize(
    ("size", "status", "field"),
    [
        ("8Gi", HAS, None),
        ("4Gi", HAS, None),
        ("2Gi", HAS, "spec.resources.requests.storage"),
        ("8Gi", {"phase": "Pending"}, "spec"),
    ],
)
def test_a_bound_claim_may_grow_to_no_less_than_it_has(size: str, status: Obj, field: str | None) -> None:
    found = causes(builders.claim("disk", size), {**builders.claim("disk", "5Gi"), "status": status})

    assert [each.field for each in found] == ([field] if field else [])


def test_a_claim_may_be_bound() -> None:
    assert causes(builders.claim("disk", volumeName="v"), builders.claim("disk")) == ()


@pytest.mark.parametrize(
    ("size", "class_", "grows"),
    [
        ("2Gi", "elastic", True),
        ("2Gi", "local", False),
        ("1Gi", "local", True),
        ("2Gi", "gone", False),
        ("2Gi", "", False),
    ],
)
def test_a_claim_grows_where_its_class_lets_it(size: str, class_: str, grows: bool) -> None:
    facts = Facts((StorageClass("local"), StorageClass("elastic", expands=True)))
    old, later = (builders.claim("disk", asked, storageClassName=class_) for asked in ("1Gi", size))

    assert (stays(later, old, facts) == "") is grows
