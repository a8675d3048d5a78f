"""Tokens of ServiceAccounts: signed here, bound to an audience, a time and, where asked, a pod or a secret.

Claims, bounds and words are those of Kubernetes (`pkg/serviceaccount/claims.go`,
`pkg/registry/core/serviceaccount/storage/token.go`). A token ends with the objects that it is bound to.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from diskyard.api import meta
from diskyard.api.meta import NODE, POD, SECRET, SERVICE_ACCOUNT, Key, Kind, Obj
from diskyard.api.names import kubernetes
from diskyard.api.user import User, account
from diskyard.errors import BadRequest, Cause, Conflict, NotFound
from diskyard.kube.client import Client
from standalone.store import answers

ISSUER: Final = "https://kubernetes.default.svc"
"""Also the audience of tokens for this server itself."""
REQUEST: Final = Kind("authentication.k8s.io", "v1", "TokenRequest", "tokenrequests")
ALGORITHM: Final = "ES256"
_CLAIMS: Final = "kubernetes.io"
_HOUR: Final = 3600
_SHORTEST, _LONGEST = 600, 1 << 32
_BINDABLE: Final = {("v1", one.kind): one for one in (POD, SECRET, NODE)}


class BadToken(Exception):
    """Why a token is not accepted: for reviews and logs, not for who shows it."""


class Accounts:
    """Issues and checks the tokens of ServiceAccounts."""

    def __init__(self, client: Client, key: ec.EllipticCurvePrivateKey) -> None:
        self._client = client
        self._private = key
        self._public = key.public_key()
        self._name = _fingerprint(self._public)

    def issue(self, key: Key, request: Obj) -> Obj:
        """The TokenRequest with its token. Raises NotFound, Invalid, BadRequest, Conflict."""
        spec = meta.spec(request)
        holder = self._client.get(SERVICE_ACCOUNT, key)
        seconds = _seconds(spec.get("expirationSeconds"))
        audiences = [str(one) for one in spec.get("audiences") or ()] or [ISSUER]
        now = datetime.now(UTC)
        ends = now + timedelta(seconds=seconds)
        claims = {
            "aud": audiences,
            "exp": int(ends.timestamp()),
            "iat": int(now.timestamp()),
            "iss": ISSUER,
            "jti": str(uuid4()),
            _CLAIMS: {
                "namespace": key.namespace,
                **self._bound(key, spec.get("boundObjectRef") or {}),
                "serviceaccount": {"name": key.name, "uid": meta.uid(holder)},
            },
            "nbf": int(now.timestamp()),
            "sub": account(key.namespace, key.name).name,
        }
        token = jwt.encode(claims, self._private, algorithm=ALGORITHM, headers={"kid": self._name})
        return {
            "kind": REQUEST.kind,
            "apiVersion": REQUEST.api_version,
            "metadata": {
                "name": key.name,
                "namespace": key.namespace,
                "creationTimestamp": meta.timestamp(now),
            },
            "spec": {
                "audiences": audiences,
                "expirationSeconds": seconds,
                "boundObjectRef": spec.get("boundObjectRef"),
            },
            "status": {"token": token, "expirationTimestamp": meta.timestamp(ends)},
        }

    def keys(self) -> Obj:
        """What others check these tokens with: a JSON Web Key Set (RFC 7517)."""
        key = ECAlgorithm.to_jwk(self._public, as_dict=True)
        return {"keys": [{"use": "sig", "kty": key["kty"], "kid": self._name, "alg": ALGORITHM, **key}]}

    def user(self, token: str, audiences: Sequence[str] = (ISSUER,)) -> tuple[User, tuple[str, ...]]:
        """Whose token that is, and for which of the audiences. Raises BadToken."""
        try:
            claims = jwt.decode(
                token,
                self._public,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                options={"require": ["exp", "nbf", "aud", _CLAIMS], "verify_aud": False},
            )
        except jwt.ExpiredSignatureError as error:
            raise BadToken("service account token has expired") from error
        except jwt.InvalidTokenError as error:
            raise BadToken("invalid bearer token") from error
        known = tuple(one for one in audiences if one in claims.get("aud", ()))
        if not known:
            said, wanted = (f"[{' '.join(map(repr, some))}]" for some in (claims.get("aud", ()), audiences))
            raise BadToken(
                f"token audiences {said} is invalid for the target audiences {wanted}".replace("'", '"')
            )
        return self._holder(claims), known

    def _holder(self, claims: Mapping[str, Any]) -> User:
        """The ServiceAccount that the claims are about, if it and all that they are bound to are still there."""
        about: Mapping[str, Any] = claims[_CLAIMS]
        namespace, holder = str(about["namespace"]), about["serviceaccount"]
        self._same(SERVICE_ACCOUNT, Key(holder["name"], namespace), holder["uid"])
        for kind in (POD, SECRET):
            if bound := about.get(kind.singular):
                self._same(kind, Key(bound["name"], namespace), bound["uid"])
        extra = {kubernetes.CREDENTIAL_ID: [f"JTI={claims['jti']}"]}
        for kind, name, uid in (
            (POD, kubernetes.POD_NAME, kubernetes.POD_UID),
            (NODE, kubernetes.NODE_NAME, kubernetes.NODE_UID),
        ):
            if bound := about.get(kind.singular):
                extra |= {name: [bound["name"]], **({uid: [bound["uid"]]} if bound.get("uid") else {})}
        return account(namespace, holder["name"], holder["uid"], extra)

    def _same(self, kind: Kind, key: Key, uid: str) -> None:
        try:
            there = self._client.get(kind, key)
        except NotFound as error:
            raise BadToken(f"{kind.singular} {key} has been deleted") from error
        if meta.uid(there) != uid:
            raise BadToken(f"{kind.singular} UID ({meta.uid(there)}) does not match claim ({uid})")

    def _bound(self, holder: Key, reference: Mapping[str, Any]) -> Obj:
        """Claims about the object that a token is to be bound to."""
        if not reference:
            return {}
        version, name = str(reference.get("apiVersion", "")), str(reference.get("name", ""))
        kind = _BINDABLE.get((version, str(reference.get("kind", ""))))
        if kind is None:
            group, _, version = version.rpartition("/")
            said = f"{group}/{version}, Kind={reference.get('kind', '')}"
            raise BadRequest(f"cannot bind token to object of type {said}")
        found = self._client.get(kind, Key(name, holder.namespace if kind.namespaced else ""))
        _check_uid(kind, found, str(reference.get("uid") or ""))
        claims = {kind.singular: {"name": name, "uid": meta.uid(found)}}
        if kind == POD:
            runs_as = meta.spec(found).get("serviceAccountName") or "default"
            if runs_as != holder.name:
                raise BadRequest(
                    f'cannot bind token for serviceaccount "{holder.name}" to pod running with different '
                    f"serviceaccount name."
                )
            if node := meta.spec(found).get("nodeName"):
                claims[NODE.singular] = {"name": node}
        return claims


def _fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """The name of a key, as Kubernetes names it: by which clients find it in the set."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")


def _check_uid(kind: Kind, found: Obj, uid: str) -> None:
    if uid and uid != meta.uid(found):
        raise Conflict(
            f'Operation cannot be fulfilled on {kind.kind} "{meta.name(found)}": the UID in the bound object '
            f"reference ({uid}) does not match the UID in record. The object might have been deleted and then "
            "recreated"
        )


def _seconds(asked: Any) -> int:
    """For how long. Raises Invalid."""
    if asked is None:
        return _HOUR
    why = ""
    if not isinstance(asked, int) or asked < _SHORTEST:
        why = "may not specify a duration less than 10 minutes"
    elif asked > _LONGEST:
        why = "may not specify a duration larger than 2^32 seconds"
    if why:
        raise answers.invalid(
            REQUEST, "", [Cause(f"Invalid value: {asked}: {why}", "spec.expirationSeconds")]
        )
    return int(asked)
