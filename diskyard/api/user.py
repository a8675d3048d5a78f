"""Who asks: a user as API servers speak of them (`userInfo`), in requests, reviews and admission. No I/O."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from diskyard.api.meta import Obj

MASTERS: Final = "system:masters"
"""Whoever is in this group may do everything, whatever roles say."""
AUTHENTICATED: Final = "system:authenticated"
UNAUTHENTICATED: Final = "system:unauthenticated"
ACCOUNTS: Final = "system:serviceaccounts"
_ACCOUNT: Final = "system:serviceaccount:"
_NAMED: Final = re.compile(
    rf"{_ACCOUNT}(?P<namespace>[a-z0-9]([a-z0-9-]{{0,61}}[a-z0-9])?):[a-z0-9]([a-z0-9.-]{{0,251}}[a-z0-9])?"
)


@dataclass(frozen=True)
class User:
    """A person or a program."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def master(self) -> bool:
        """Whether everything is allowed."""
        return MASTERS in self.groups

    def wire(self) -> Obj:
        """`userInfo`."""
        return {
            "username": self.name,
            **({"uid": self.uid} if self.uid else {}),
            **({"groups": list(self.groups)} if self.groups else {}),
            **({"extra": {name: list(said) for name, said in self.extra.items()}} if self.extra else {}),
        }


ANONYMOUS: Final = User("system:anonymous", (UNAUTHENTICATED,))
"""Whoever shows no credentials."""


def authenticated(user: User) -> User:
    """The user as a member of the group of all who are known."""
    if AUTHENTICATED in user.groups:
        return user
    return User(user.name, (*user.groups, AUTHENTICATED), user.uid, user.extra)


def account_name(namespace: str, name: str) -> str:
    """The user name of a ServiceAccount."""
    return f"{_ACCOUNT}{namespace}:{name}"


def account_groups(user_name: str) -> tuple[str, ...]:
    """The groups of the ServiceAccount of that user name; none: it is not one's."""
    named = _NAMED.fullmatch(user_name)
    return (ACCOUNTS, f"{ACCOUNTS}:{named['namespace']}") if named else ()


def account(
    namespace: str, name: str, uid: str = "", extra: Mapping[str, Iterable[str]] | None = None
) -> User:
    """A ServiceAccount as a user."""
    said = account_name(namespace, name)
    found = {field: tuple(values) for field, values in (extra or {}).items()}
    return User(said, (*account_groups(said), AUTHENTICATED), uid, found)
