"""What a request wants to do, read from its method, path and query as Kubernetes reads it; and the refusal. Pure.

The reading is that of `apiserver/pkg/endpoints/request/requestinfo.go`, the words those of its `Forbidden`.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from diskyard.api.user import User
from diskyard.errors import Forbidden
from standalone.access.rbac import Question

_VERBS: Final = {
    "POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete",
}  # fmt: skip
_OF_NAMESPACES: Final = ("status", "finalize")
_BY_NAME: Final = "metadata.name="


def question(method: str, path: str, query: Mapping[str, str]) -> Question:
    """What the request asks for; `path` as it was sent, quoted."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    grouped = parts[0] == "apis"
    if parts[0] not in ("api", "apis") or len(parts) < (4 if grouped else 3):
        return Question(method.lower(), path=unquote(path))
    group, rest = (parts[1], parts[3:]) if grouped else ("", parts[2:])
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in _OF_NAMESPACES:
            rest = rest[2:]
    resource, name, subresource, *_ = (*rest, "", "")
    verb = _VERBS.get(method, method.lower())
    if not name and verb == "get":
        verb = "watch" if query.get("watch", "").lower() in ("true", "1", "t") else "list"
        name = _one_name(query.get("fieldSelector", ""))
    elif not name and verb == "delete":
        verb = "deletecollection"
    return Question(verb, group, resource, subresource, namespace, name)


def forbidden(user: User, asked: Question, reason: str = "") -> Forbidden:
    """403, as the API server words it."""
    if asked.path:
        said = f'User "{user.name}" cannot {asked.verb} path "{asked.path}"'
        return Forbidden(f"forbidden: {said}{f': {reason}' if reason else ''}", details={})
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    said = (
        f'User "{user.name}" cannot {asked.verb} resource "{asked.combined}" '
        f'in API group "{asked.group}" {where}{f": {reason}" if reason else ""}'
    )
    return denied(asked, said)


def denied(asked: Question, why: str) -> Forbidden:
    """403 about a resource or one object of it."""
    resource = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    about = f'{resource} "{asked.name}"' if asked.name else resource
    details = {"name": asked.name, "group": asked.group, "kind": asked.resource}
    return Forbidden(f"{about} is forbidden: {why}", details={k: v for k, v in details.items() if v})


def _one_name(selector: str) -> str:
    """The one name that a field selector leaves."""
    for term in selector.split(","):
        if term.startswith(_BY_NAME):
            return term.removeprefix(_BY_NAME).removeprefix("=")
    return ""
