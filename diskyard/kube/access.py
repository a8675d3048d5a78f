"""Whether somebody may do something, asked of the API server: SubjectAccessReviews."""

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


May = Callable[[User, Access], bool]
"""Whether that user may. Raises ApiError where it cannot be told."""


def asked_of(client: Client) -> May:
    """The API server's own word."""

    def may(user: User, access: Access) -> bool:
        who = user.wire()
        spec = {
            "user": who.pop("username"),
            **who,
            "resourceAttributes": access.wire(),
        }
        review = {"apiVersion": REVIEW.api_version, "kind": REVIEW.kind, "metadata": {}, "spec": spec}
        return meta.status(client.create(REVIEW, review)).get("allowed") is True

    return may
