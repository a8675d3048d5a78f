"""AdmissionReviews: what is read of them, and the words of the answer."""

import base64
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import requests
from aiohttp import web

from diskyard.errors import Cause, NotFound, ServerError
from diskyard.kube.webhook import ALLOWED, Decision, Review, handler
from diskyard.web.server import Place, start
from tests import builders
from tests.datavolume_controller.program import review

OBJ = builders.config_map("a", size="1")


def judge(asked: Review) -> Decision:
    match (asked.obj or {}).get("data", {}).get("size"):
        case "2":
            return Decision(
                (Cause("too large", "data.size"), Cause("and ugly", "data", "FieldValueDuplicate"))
            )
        case "3":
            raise NotFound('datasources "x" not found')
        case "4":
            raise ServerError("no answer")
        case "6":
            return Decision(obj={**OBJ, "data": {"size": "7", "who": asked.user.name}}, warnings=("beware",))
    return ALLOWED


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    app = web.Application()
    app.router.add_post("/judge", handler(judge))
    running = start(app, Place("127.0.0.1"))
    yield f"{running.url}/judge"
    running.stop()


def asked(size: str) -> dict[str, Any]:
    return review(builders.config_map("a", size=size), resource="configmaps")


def answer(url: str, said: dict[str, Any]) -> dict[str, Any]:
    found = requests.post(url, json=said, timeout=60)
    assert found.status_code == 200, found.text
    return dict(found.json())


@pytest.mark.parametrize("version", ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"])
def test_answers_in_the_version_that_was_asked_in(url: str, version: str) -> None:
    said = answer(url, {**asked("1"), "apiVersion": version})
    assert said == {
        "apiVersion": version,
        "kind": "AdmissionReview",
        "response": {"uid": "u-1", "allowed": True},
    }


def test_a_refusal_says_every_cause(url: str) -> None:
    status = answer(url, asked("2"))["response"]["status"]
    assert (status["code"], status["message"]) == (422, " too large and ugly")
    assert [each["field"] for each in status["details"]["causes"]] == ["data.size", "data"]
    assert "reason" not in status


@pytest.mark.parametrize(
    ("size", "code", "words"),
    [("3", 400, 'datasources "x" not found'), ("4", 500, "no answer")],
    ids=["what is not there", "a server in trouble"],
)
def test_what_cannot_be_told_is_refused_with_the_reason(url: str, size: str, code: int, words: str) -> None:
    response = answer(url, asked(size))["response"]
    assert (response["allowed"], response["status"]["code"]) == (False, code)
    assert words in response["status"]["message"]


def test_what_is_filled_in_comes_as_a_patch(url: str) -> None:
    response = answer(url, asked("6"))["response"]
    patch = orjson.loads(base64.b64decode(response["patch"]))
    assert sorted((step["op"], step["path"], step["value"]) for step in patch) == [
        ("add", "/data/who", "ann"), ("replace", "/data/size", "7"),
    ]  # fmt: skip
    assert (response["patchType"], response["warnings"]) == ("JSONPatch", ["beware"])


def test_another_content_type_gets_an_empty_answer(url: str) -> None:
    found = requests.post(url, data="hello", headers={"Content-Type": "text/plain"}, timeout=60)
    assert (found.status_code, found.content) == (200, b"")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"apiVersion": "x/v9", "request": {}}', b'{"request": null}', b"\xff" * 100],
)
def test_what_is_no_review_is_a_bad_request(url: str, body: bytes) -> None:
    found = requests.post(url, data=body, headers={"Content-Type": "application/json"}, timeout=60)
    assert found.status_code == 400


def test_an_object_of_a_megabyte_is_read(url: str) -> None:
    said = review(builders.config_map("a", size="1", more="x" * (1 << 20)), resource="configmaps")
    assert answer(url, said)["response"]["allowed"] is True


def test_what_is_longer_than_any_object_is_not_read(url: str) -> None:
    headers = {"Content-Type": "application/json"}
    assert requests.post(url, data=b" " * (17 << 20), headers=headers, timeout=60).status_code == 413
