"""Answers to "may I?" and "who am I?". There is one user, the administrator, and everything is allowed. Pure."""

from diskyard.api.meta import Obj

ADMIN = "diskyard-admin"


def answered(plural: str, review: Obj) -> Obj:
    """The review with its status."""
    if plural == "selfsubjectreviews":
        status: Obj = {"userInfo": {"username": ADMIN, "groups": ["system:masters", "system:authenticated"]}}
    elif plural == "selfsubjectrulesreviews":
        everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
        paths = {"verbs": ["*"], "nonResourceURLs": ["*"]}
        status = {"resourceRules": [everything], "nonResourceRules": [paths], "incomplete": False}
    else:
        status = {"allowed": True, "reason": "the bearer of the administrator's token may do everything"}
    return {**review, "status": status}
