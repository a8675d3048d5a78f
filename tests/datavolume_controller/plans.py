"""What a plan would do, read for assertions."""

from typing import Any

from diskyard.kube.reconcile import Merge, Plan, Tell


def said(plan: Plan) -> dict[str, Any]:
    """What the claim's annotations become."""
    merged: dict[str, Any] = {}
    for action in plan.actions:
        if isinstance(action, Merge):
            merged |= action.patch["metadata"].get("annotations", {})
    return merged


def told(plan: Plan) -> list[tuple[str, str]]:
    """Its events: (reason, message)."""
    return [(each.reason, each.message) for each in plan.actions if isinstance(each, Tell)]
