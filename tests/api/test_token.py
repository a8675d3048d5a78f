"""Upload tokens: what CDI's clients carry, and what is refused."""

from datetime import UTC, datetime, timedelta

import jwt
import pytest

from diskyard.api import token
from diskyard.api.token import Grant
from diskyard.errors import Unauthorized

PRIVATE, PUBLIC = token.keys()
OTHER, _ = token.keys()
GRANT = Grant(token.UPLOAD, "iso", "default")


def now(**ago: float) -> datetime:
    return datetime.now(UTC) - timedelta(**ago)


def test_a_token_says_what_was_signed() -> None:
    assert token.verified(token.signed(GRANT, PRIVATE, now()), PUBLIC) == GRANT
    assert GRANT.uploads


def test_it_is_read_by_those_who_know_cdis_claims() -> None:
    said = jwt.decode(
        token.signed(GRANT, PRIVATE, now()), PUBLIC.decode(), algorithms=["PS256"], issuer="cdi-apiserver"
    )

    assert said["operation"] == "Upload"
    assert said["resource"] == {"group": "", "version": "v1", "resource": "persistentvolumeclaims"}
    assert said["exp"] - said["iat"] == 300


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (token.signed(GRANT, PRIVATE, now(minutes=6)), "expired"),
        (token.signed(GRANT, PRIVATE, now(minutes=-5)), "not one of this server's"),
        (token.signed(GRANT, OTHER, now()), "not one of this server's"),
        (jwt.encode({"operation": "Upload"}, PRIVATE.decode(), algorithm="RS256"), "not one of this server's"),
        (jwt.encode({"operation": "Upload"}, "shared secret of 32 bytes or so ..", algorithm="HS256"), "not one"),
        (jwt.encode({"operation": "Upload"}, "", algorithm="none"), "not one of this server's"),
        (jwt.encode({"operation": "Upload"}, PRIVATE.decode(), algorithm="PS256"), "not one of this server's"),
        ("x" * 20_000, "too long"),
        ("", "not one of this server's"),
    ],
    ids=[
        "expired", "of the future", "another key", "RS256", "HS256", "no algorithm", "no times", "too long", "empty",
    ],
)  # fmt: skip
def test_what_is_not_ours_or_does_not_hold_is_refused(text: str, why: str) -> None:
    with pytest.raises(Unauthorized, match=why):
        token.verified(text, PUBLIC)


@pytest.mark.parametrize(
    "grant",
    [
        Grant("Clone", "iso", "default"),
        Grant(token.UPLOAD, "", "default"),
        Grant(token.UPLOAD, "iso", ""),
        Grant(token.UPLOAD, "iso", "default", resource="volumesnapshots"),
    ],
)
def test_a_token_for_something_else_is_for_no_upload(grant: Grant) -> None:
    assert not token.verified(token.signed(grant, PRIVATE, now()), PUBLIC).uploads
