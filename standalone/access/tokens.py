"""Who may ask: the administrator's token, tokens of users in a file, the key that signs those of ServiceAccounts; and
the kubeconfig that carries one.
"""

import base64
import csv
import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from diskyard.api.user import MASTERS, User, authenticated
from diskyard.errors import InvalidRequest
from diskyard.web.tls import write_secret

CONTEXT = "diskyard"
ADMIN: Final = authenticated(User("diskyard-admin", (MASTERS,)))
_USERS: Final = "tokens.csv"
_LONGEST: Final = 16 * 1024


@dataclass(frozen=True)
class Tokens:
    """The tokens that this yard accepts, and its key for further ones."""

    admin: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    users: Mapping[bytes, User] = field(default_factory=dict)
    """By the digest of the token."""

    def user(self, token: str) -> User | None:
        """Whose token that is. It is looked up by digest: how long that takes tells nothing about tokens."""
        return ADMIN if _digest(token) == _digest(self.admin) else self.users.get(_digest(token))


def tokens(folder: Path) -> Tokens:
    """The tokens kept in that folder, made at the first start. Raises InvalidRequest."""
    admin, key = folder / "admin.token", folder / "accounts.key"
    if not admin.exists():
        write_secret(admin, secrets.token_urlsafe(32).encode())
    if not key.exists():
        write_secret(key, _pem(ec.generate_private_key(ec.SECP256R1())))
    return Tokens(admin.read_text().strip(), _key(key), users(folder / _USERS))


def users(path: Path) -> Mapping[bytes, User]:
    """The users in a token file of Kubernetes: lines of `token,user,uid,"group1,group2"`. Raises InvalidRequest."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return dict(_user(path, number, row) for number, row in enumerate(csv.reader(file), 1) if row)


def write_kubeconfig(path: Path, url: str, authority: Path, token: str) -> None:
    """Put a kubeconfig in place that lets kubectl in at `url` with that token."""
    certificate = base64.b64encode(authority.read_bytes()).decode()
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": CONTEXT, "cluster": {"server": url, "certificate-authority-data": certificate}}
        ],
        "users": [{"name": CONTEXT, "user": {"token": token}}],
        "contexts": [
            {"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT, "namespace": "default"}}
        ],
        "current-context": CONTEXT,
    }
    write_secret(path, yaml.safe_dump(content, sort_keys=False).encode())


def _user(path: Path, number: int, row: Iterable[str]) -> tuple[bytes, User]:
    token, name, uid, groups, *_ = (*(one.strip() for one in row), "", "", "", "")
    if not token or not name:
        raise InvalidRequest(f'{path}, line {number}: expected token,user,uid,"group1,group2"')
    known = tuple(group for group in (one.strip() for one in groups.split(",")) if group)
    return _digest(token), authenticated(User(name, known, uid))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token[:_LONGEST].encode("utf-8", "surrogateescape")).digest()


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except ValueError as error:
        raise InvalidRequest(f"{path} is not a private key: {error}. Remove it and start again") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InvalidRequest(f"{path}: expected an EC key. Remove it and start again")
    return key
