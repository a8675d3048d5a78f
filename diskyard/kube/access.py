"""Who somebody is, and whether they may do something, asked of the API server: TokenReviews, SubjectAccessReviews."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import Kind, Obj
from diskyard.api.user import User
from diskyard.kube.client import Client

REVIEW: Final = Kind(
    "authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", namespaced=False
)
TOKEN: Final = Kind("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", namespaced=False)


@dataclass(frozen=True)
class Access:
    """What is to be done: a verb, and to what."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str = ""
    subresource: str = ""

    def wire(self) -> Obj:
        """`resourceAttributes`."""
        said = {
            "verb": self.verb,
            "group": self.group,
            "resource": self.resource,
            "subresource": self.subresource,
            "namespace": self.namespace,
            "name": self.name,
        }
        return {field: text for field, text in said.items() if text}


@dataclass(frozen=True)
class PathAccess:
    """What is to be done with a path that is no object's, such as `/metrics`."""

    verb: str
    path: str

    def wire(self) -> Obj:
        """`nonResourceAttributes`."""
        return {"verb": self.verb, "path": self.path}


May = Callable[[User, Access], bool]
"""Whether that user may. Raises ApiError where it cannot be told."""


def asked_of(client: Client) -> May:
    """The API server's own word."""

    def may(user: User, access: Access) -> bool:
        return _allowed(client, user, {"resourceAttributes": access.wire()})

    return may


def may_path(client: Client, user: User, access: PathAccess) -> bool:
    """Whether that user may do that with a path. Raises ApiError where it cannot be told."""
    return _allowed(client, user, {"nonResourceAttributes": access.wire()})


def bearer(client: Client, token: str) -> User | None:
    """Whose token it is, as the API server says; None: nobody's. Raises ApiError where it cannot be told."""
    review = {"apiVersion": TOKEN.api_version, "kind": TOKEN.kind, "metadata": {}, "spec": {"token": token}}
    said = meta.status(client.create(TOKEN, review))
    who = said.get("user") or {}
    if said.get("authenticated") is not True or not who.get("username"):
        return None
    extra = {name: tuple(texts) for name, texts in (who.get("extra") or {}).items()}
    return User(who["username"], tuple(who.get("groups") or ()), who.get("uid") or "", extra)


def _allowed(client: Client, user: User, attributes: Obj) -> bool:
    who = user.wire()
    spec = {"user": who.pop("username"), **who, **attributes}
    review = {"apiVersion": REVIEW.api_version, "kind": REVIEW.kind, "metadata": {}, "spec": spec}
    return meta.status(client.create(REVIEW, review)).get("allowed") is True
