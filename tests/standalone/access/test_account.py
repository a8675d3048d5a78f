"""Tokens of ServiceAccounts as somebody else might make them, or keep them."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from diskyard.api import meta
from diskyard.api.meta import SERVICE_ACCOUNT, Key, Obj
from standalone.access.account import Accounts, BadToken
from standalone.store.objects import Objects
from tests.builders import some

WORKER = Key("worker", "default")


@dataclass(frozen=True)
class Mint:
    """A store with one account, and the key that signs."""

    store: Objects
    accounts: Accounts
    key: ec.EllipticCurvePrivateKey

    def claims(self) -> Obj:
        token = self.accounts.issue(WORKER, {"spec": {}})["status"]["token"]
        found: Obj = jwt.decode(token, options={"verify_signature": False})
        return found

    def signed(self, **changed: Any) -> str:
        claims = {name: value for name, value in (self.claims() | changed).items() if value is not None}
        return jwt.encode(claims, self.key, algorithm="ES256")


@pytest.fixture(scope="module")
def mint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mint]:
    key = ec.generate_private_key(ec.SECP256R1())
    with Objects.open(tmp_path_factory.mktemp("store") / "store.db") as store:
        store.create(SERVICE_ACCOUNT, some(SERVICE_ACCOUNT, "worker"))
        yield Mint(store, Accounts(store, key), key)


def test_what_was_issued_is_good(mint: Mint) -> None:
    user, _ = mint.accounts.user(mint.signed())

    assert user.name == "system:serviceaccount:default:worker"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"exp": int(time.time()) - 60}, "has expired"),
        ({"nbf": int(time.time()) + 86400}, "invalid bearer token"),
        ({"iss": "https://elsewhere.example"}, "invalid bearer token"),
        ({"aud": ["elsewhere"]}, 'token audiences \\["elsewhere"\\] is invalid'),
        ({"aud": None}, "invalid bearer token"),
        ({"exp": None}, "invalid bearer token"),
        ({"kubernetes.io": None}, "invalid bearer token"),
    ],
)
def test_a_token_that_says_otherwise_is_not(mint: Mint, changed: Obj, why: str) -> None:
    with pytest.raises(BadToken, match=why):
        mint.accounts.user(mint.signed(**changed))


def test_neither_is_one_that_another_key_signed_or_none(mint: Mint) -> None:
    strange = jwt.encode(mint.claims(), ec.generate_private_key(ec.SECP256R1()), algorithm="ES256")
    unsigned = jwt.encode(mint.claims(), None, algorithm="none")

    for token in (strange, unsigned):
        with pytest.raises(BadToken, match="invalid bearer token"):
            mint.accounts.user(token)


def test_a_token_ends_with_its_account_even_if_another_takes_the_name(mint: Mint) -> None:
    key = Key("other", "default")
    mint.store.create(SERVICE_ACCOUNT, some(SERVICE_ACCOUNT, "other"))
    token = mint.accounts.issue(key, {"spec": {}})["status"]["token"]

    mint.store.delete(SERVICE_ACCOUNT, key)
    with pytest.raises(BadToken, match="has been deleted"):
        mint.accounts.user(token)
    again = mint.store.create(SERVICE_ACCOUNT, some(SERVICE_ACCOUNT, "other"))
    with pytest.raises(BadToken, match=f"UID \\({meta.uid(again)}\\) does not match claim"):
        mint.accounts.user(token)
