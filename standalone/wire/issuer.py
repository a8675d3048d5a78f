"""Who signs the tokens of ServiceAccounts, and how others can check them: OpenID's discovery, as a real server's.

https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery
"""

from typing import Final

from aiohttp import web

from diskyard.api.meta import Obj
from standalone.access.account import ALGORITHM, ISSUER, Accounts
from standalone.wire.answer import NotAcceptable, encoded

_ABOUT: Final = "/.well-known/openid-configuration"
_KEYS: Final = "/openid/v1/jwks"
PATHS: Final = (_ABOUT, _KEYS)
_KEPT: Final = {"Cache-Control": "public, max-age=3600"}


def add_routes(router: web.UrlDispatcher, accounts: Accounts) -> None:
    """Serve both of them."""

    async def about(request: web.Request) -> web.StreamResponse:
        found = {
            "issuer": ISSUER,
            "jwks_uri": f"https://{request.host}{_KEYS}",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
        }
        return _answer(request, found, "application/json")

    async def keys(request: web.Request) -> web.StreamResponse:
        return _answer(request, accounts.keys(), "application/jwk-set+json")

    for path, handler in ((_ABOUT, about), (_KEYS, keys)):
        for end in ("", "/"):
            router.add_get(path + end, handler)


def _answer(request: web.Request, found: Obj, form: str) -> web.Response:
    """What is found, in the one form that it has. Raises NotAcceptable."""
    taken = [one.partition(";")[0].strip() for one in request.headers.get("Accept", "*/*").split(",")]
    if not {form, "*/*", ""}.intersection(taken):
        raise NotAcceptable(f"406: Not Acceptable\n\nAvailable representations: {form}", details={})
    return web.Response(body=encoded(found), headers={**_KEPT, "Content-Type": form})
