"""What a claim says of the pod that works on it, and the patches that make it say so. Pure."""

from collections.abc import Callable, Mapping

from diskyard.api.meta import CLAIM, Obj
from diskyard.api.names import cdi
from diskyard.api.storage import Claim
from diskyard.kube.reconcile import Action, Merge

Said = Mapping[str, str | None]
"""Annotations; None takes one away."""


def running(status: str, reason: str, message: str) -> dict[str, str | None]:
    """The three annotations of the condition Running."""
    return {cdi.RUNNING_CONDITION: status, cdi.RUNNING_REASON: reason, cdi.RUNNING_MESSAGE: message}


def refused(pod: str) -> Callable[[str, str], Obj]:
    """What a claim says when its pod may not be made: a patch, from the refusal's reason and message."""

    def patch(reason: str, message: str) -> Obj:
        quota = reason == "ErrExceededQuota"
        text = message if quota else f"Error starting pod '{pod}': {message}"
        said = running("false", reason if quota else "ErrStartingPod", text)
        return {"metadata": {"annotations": said}}

    return patch


def annotated(claim: Claim, said: Said) -> tuple[Action, ...]:
    """The patch that makes the claim say that; none where it does."""
    changed = {key: text for key, text in said.items() if claim.annotations.get(key) != text}
    if not changed:
        return ()
    return (Merge(CLAIM, claim.key, {"metadata": {"annotations": changed}}),)
