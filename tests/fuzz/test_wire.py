"""Whatever our OpenAPI says can be asked is answered, and never with a 500; `FUZZ=20 pytest tests/fuzz` asks more."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import given

from standalone.admission import Rules
from tests.fuzz.mutations import bounded
from tests.served import Yard, served

DOCUMENTS = ("api/v1", "apis/cdi.kubevirt.io/v1beta1", "apis/kubevirt.io/v1", "apis/rbac.authorization.k8s.io/v1",
             "apis/apiextensions.k8s.io/v1", "apis/authorization.k8s.io/v1")  # fmt: skip
PLACES = {"namespace": "default", "name": "default"}
"""Names of things that are there: every second request is about one of them."""


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with served(tmp_path_factory.mktemp("yard"), rules=Rules()) as running:
        yield running


@pytest.fixture(scope="module")
def session(yard: Yard) -> Iterator[requests.Session]:
    with requests.Session() as found:
        found.trust_env = False
        found.headers["Authorization"] = f"Bearer {yard.token}"
        yield found


def described(yard: Yard, session: requests.Session, document: str) -> Any:
    answer = session.get(f"{yard.url}/openapi/v3/{document}", verify=str(yard.authority), timeout=60)
    return schemathesis.openapi.from_dict(json.loads(answer.text.replace('"*/*"', '"application/json"')))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_nothing_that_can_be_asked_is_too_much(yard: Yard, session: requests.Session, document: str) -> None:
    failed, turn = [], iter(range(1 << 30))

    def ask(case: Any) -> None:
        case.query = {
            name: value for name, value in (case.query or {}).items() if name not in ("watch", "follow")
        }
        if next(turn) % 2:
            case.path_parameters = {name: PLACES[name] for name in case.path_parameters or ()}
        answer = case.call(base_url=yard.url, session=session, verify=str(yard.authority), timeout=60)
        too_new = answer.status_code == 504 and "Too large resource version" in answer.text
        if answer.status_code >= 500 and not too_new:
            failed.append((answer.status_code, answer.text[:300], case.as_curl_command()[:2000]))

    for each in described(yard, session, document).get_all_operations():
        bounded(2)(given(each.ok().as_strategy())(ask))()

    assert not failed
