"""Who waits for a quota, and what relieves him."""

from typing import Any

import pytest

from diskyard.api.meta import RESOURCE_QUOTA, Key, Obj
from diskyard.errors import Forbidden, ServerError
from diskyard.kube.shortage import Shortage
from tests import builders

A = Key("a", "default")
B = Key("b", "elsewhere")
REFUSED = (
    'pods "importer-a" is forbidden: exceeded quota: few, requested: pods=1, used: pods=2, limited: pods=2'
)


def quota(name: str = "few", hard: dict[str, Any] | None = None, **used: Any) -> Obj:
    fields = {"spec": {"hard": hard or {"pods": "2"}}, "status": {"used": used or {"pods": "2"}}}
    return builders.some(RESOURCE_QUOTA, name, **fields)


@pytest.fixture
def shortage() -> Shortage:
    made = Shortage()
    made.refused(A, Forbidden(REFUSED))
    made.refused(B, Forbidden(REFUSED))
    return made


@pytest.mark.parametrize(
    "change",
    [
        pytest.param((quota(hard={"pods": "3"}), quota()), id="its limit grows"),
        pytest.param((quota(hard={"services": "1"}), quota()), id="its limit goes"),
        pytest.param((quota(pods="1"), quota()), id="somebody leaves"),
        pytest.param((quota(),), id="it is deleted"),
        pytest.param(
            (quota(hard={"requests.storage": "1Gi"}), quota(hard={"requests.storage": "1000Mi"})),
            id="in other units",
        ),
    ],
)
def test_all_that_it_refused_try_again_when(shortage: Shortage, change: tuple[Obj, ...]) -> None:
    assert sorted(shortage.relieved(change)) == [A, B]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param((quota(), quota()), id="nothing changes"),
        pytest.param((quota(pods="2"), quota(pods="1")), id="somebody comes"),
        pytest.param((quota(hard={"pods": "1"}), quota()), id="it is made smaller"),
        pytest.param((quota("other", hard={"pods": "3"}), quota("other")), id="another one grows"),
    ],
)
def test_nobody_does_when(shortage: Shortage, change: tuple[Obj, ...]) -> None:
    assert shortage.relieved(change) == []


def test_who_succeeded_or_fails_of_something_else_waits_no_more(shortage: Shortage) -> None:
    shortage.ended(A)
    shortage.refused(B, ServerError("down"))

    assert shortage.relieved((quota(),)) == []
