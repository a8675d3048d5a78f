"""The door of the yard's API server: who stands there, and whether they may do what they ask."""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import unquote

from diskyard.api.user import (
    ANONYMOUS,
    AUTHENTICATED,
    User,
    account_groups,
)
from diskyard.errors import ApiError, ServerError, Unauthorized
from diskyard.web import websocket
from standalone.access.account import ISSUER, Accounts, BadToken
from standalone.access.policy import Policy
from standalone.access.question import forbidden
from standalone.access.rbac import Question
from standalone.access.tokens import Tokens
from standalone.store.objects import Objects

ALWAYS: Final = ("/healthz", "/livez", "/readyz")
"""Paths that everyone may read."""
_AUTHENTICATION: Final = "authentication.k8s.io"
_EXTRA: Final = "impersonate-extra-"


class Door:
    """Knows people by their tokens and what they may do by the roles in the store."""

    def __init__(self, objects: Objects, tokens: Tokens) -> None:
        self.policy = Policy(objects)
        self.accounts = Accounts(objects, tokens.key)
        self._tokens = tokens

    @property
    def admin(self) -> str:
        """The administrator's token."""
        return self._tokens.admin

    def bearer(self, token: str, audiences: Sequence[str] = ()) -> tuple[User, tuple[str, ...]]:
        """Whose token that is, and for which of the audiences (none: this server's). Raises BadToken."""
        wanted = tuple(audiences) or (ISSUER,)
        if not token.isascii():
            raise BadToken("invalid bearer token")
        user = self._tokens.user(token)
        if user is None:
            return self.accounts.user(token, wanted)
        if ISSUER not in wanted:
            raise BadToken("invalid bearer token")
        return user, (ISSUER,)

    def user(self, headers: Mapping[str, str]) -> User:
        """Who sends a request with these headers. Raises Unauthorized."""
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            token = websocket.token(headers)
        if not token.strip():
            return ANONYMOUS
        try:
            return self.bearer(token.strip())[0]
        except BadToken as error:
            raise Unauthorized("Unauthorized") from error

    def acting(self, user: User, headers: Sequence[tuple[str, str]]) -> User:
        """The user whom the request is to be taken for (`kubectl --as`). Raises Forbidden."""
        said = [(name.lower(), value) for name, value in headers if name.lower().startswith("impersonate-")]
        if not said:
            return user
        wanted = _wanted(said)
        for question in _asked(wanted):
            self.check(user, question)
        return wanted

    def check(self, user: User, question: Question) -> None:
        """Let what is allowed pass. Raises Forbidden."""
        if user.master or question.path in ALWAYS:
            return
        decision = self.policy.decide(user, question)
        if not decision.allowed:
            raise forbidden(user, question, decision.reason)


def _wanted(said: Sequence[tuple[str, str]]) -> User:
    name = next((value for header, value in said if header == "impersonate-user"), "")
    groups = tuple(value for header, value in said if header == "impersonate-group")
    uid = next((value for header, value in said if header == "impersonate-uid"), "")
    extra: dict[str, tuple[str, ...]] = {}
    for header, value in said:
        if header.startswith(_EXTRA):
            field = unquote(header.removeprefix(_EXTRA))
            extra[field] = (*extra.get(field, ()), value)
    if not name:
        raise _nobody(said)
    known = groups or account_groups(name)
    if name != ANONYMOUS.name:
        known = tuple(dict.fromkeys((*known, AUTHENTICATED)))
    return User(name, known or ANONYMOUS.groups, uid, extra)


def _nobody(said: Sequence[tuple[str, str]]) -> ApiError:
    return ServerError(
        "Internal Server Error: requested "
        + ", ".join(f"{header}: {value[:60]!r}" for header, value in said)
        + " without impersonating a user"
    )


def _asked(wanted: User) -> list[Question]:
    """What one must be allowed to do to act as that user."""
    account = account_groups(wanted.name)
    own = {AUTHENTICATED, *account, *ANONYMOUS.groups}
    if account:
        namespace, name = wanted.name.split(":")[2:4]
        found = [Question("impersonate", resource="serviceaccounts", namespace=namespace, name=name)]
    else:
        found = [Question("impersonate", resource="users", name=wanted.name)]
    found += [
        Question("impersonate", resource="groups", name=group) for group in wanted.groups if group not in own
    ]
    if wanted.uid:
        found.append(Question("impersonate", _AUTHENTICATION, "uids", name=wanted.uid))
    found += [
        Question("impersonate", _AUTHENTICATION, "userextras", subresource=field, name=value)
        for field, values in wanted.extra.items()
        for value in values
    ]
    return found
