"""Tokens that say "this upload, into that claim": PS256, five minutes, as CDI's clients carry them.

The private key is the API server's; who checks a token needs the public one only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from diskyard.errors import Unauthorized

ISSUER: Final = "cdi-apiserver"
LIFE: Final = timedelta(minutes=5)
UPLOAD: Final = "Upload"
CLONE: Final = "Clone"
_ALGORITHM: Final = "PS256"
_LEEWAY: Final = timedelta(seconds=10)
_LONGEST: Final = 16 * 1024
_BITS: Final = 2048


@dataclass(frozen=True)
class Grant:
    """What its bearer may do: one operation on one object."""

    operation: str
    name: str
    namespace: str
    resource: str = "persistentvolumeclaims"
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def uploads(self) -> bool:
        """Whether it is for an upload into a claim."""
        whole = bool(self.name and self.namespace)
        return self.operation == UPLOAD and whole and self.resource == "persistentvolumeclaims"


def signed(grant: Grant, key: bytes, now: datetime, life: timedelta = LIFE) -> str:
    """The token that says so from now on. `key`: the private one, PEM."""
    claims = {
        "operation": grant.operation,
        "name": grant.name,
        "namespace": grant.namespace,
        "resource": {"group": "", "version": "v1", "resource": grant.resource},
        "params": dict(grant.params),
        "iss": ISSUER,
        "iat": now,
        "nbf": now,
        "exp": now + life,
    }
    return jwt.encode(claims, key.decode(), algorithm=_ALGORITHM)


def verified(token: str, key: bytes) -> Grant:
    """What a token says, if it is ours and still holds. `key`: the public one, PEM. Raises Unauthorized."""
    if len(token) > _LONGEST:
        raise Unauthorized("the token is too long to be one")
    try:
        said = jwt.decode(
            token, key.decode(), algorithms=[_ALGORITHM], issuer=ISSUER, leeway=_LEEWAY,
            options={"require": ["exp", "iat", "nbf", "iss"]},
        )  # fmt: skip
    except jwt.ExpiredSignatureError as error:
        raise Unauthorized("the token has expired: ask for another one; what was received is kept") from error
    except jwt.PyJWTError as error:
        raise Unauthorized(f"the token is not one of this server's: {error}") from error
    return _grant(said)


def keys() -> tuple[bytes, bytes]:
    """A key pair made now: private and public, PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private, public


def _grant(said: Mapping[str, Any]) -> Grant:
    resource, params = said.get("resource"), said.get("params")
    return Grant(
        operation=str(said.get("operation") or ""),
        name=str(said.get("name") or ""),
        namespace=str(said.get("namespace") or ""),
        resource=str(resource.get("resource") or "") if isinstance(resource, dict) else "",
        params={str(k): str(v) for k, v in params.items()} if isinstance(params, dict) else {},
    )
