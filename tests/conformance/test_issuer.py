"""Whoever is shown a ServiceAccount's token can check it by what the server tells of its keys (OpenID's discovery)."""

import json
from typing import Any

import jwt

from tests.conformance.chapters import place
from tests.conformance.exchange import Line, Request

ABOUT = "/.well-known/openid-configuration"
KEYS = "/openid/v1/jwks"


def found(line: Line, request: Request, where: str) -> Any:
    code, _, body = line.send(request, where)
    assert code in (200, 201), body
    return json.loads(body)


def test_a_token_is_checked_by_the_keys_that_are_told(line: Line) -> None:
    where = place(line)
    wanted = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": ["vault"]},
    }
    path = "/api/v1/namespaces/PLACE/serviceaccounts/default/token"
    token = found(line, Request("POST", path, wanted), where)["status"]["token"]

    about = found(line, Request("GET", ABOUT), where)
    keys = found(line, Request("GET", KEYS, headers={"Accept": "*/*"}), where)

    key = jwt.PyJWKSet.from_dict(keys)[jwt.get_unverified_header(token)["kid"]]
    algorithms = about["id_token_signing_alg_values_supported"]
    claims = jwt.decode(token, key, algorithms=algorithms, audience="vault", issuer=about["issuer"])
    assert claims["sub"] == f"system:serviceaccount:{where}:default"
    assert about["jwks_uri"].endswith(KEYS)
