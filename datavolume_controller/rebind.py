"""A volume changes hands: its claim is another one from now on. The second of the three actions that cross. Pure."""

from diskyard.api import meta
from diskyard.api.meta import CLAIM, VOLUME, Key, Obj
from diskyard.api.storage import Claim
from diskyard.kube.reconcile import Action, Merge, Tell


def rebound(target_obj: Obj, stand_in: Claim, volume: Obj | None) -> tuple[Action, ...]:
    """What gives the volume of a stand-in to the claim that it stands for; none where it has it already."""
    if volume is None:
        message = (
            f"the volume {stand_in.volume} of {stand_in.key.name} is gone; delete that claim to begin again"
        )
        return (Tell(CLAIM, target_obj, "ErrVolumeLost", message, warning=True),)
    held = meta.spec(volume).get("claimRef") or {}
    if held.get("uid") == meta.uid(target_obj):
        return ()
    if held.get("uid") != stand_in.uid:
        whose = Key(str(held.get("name", "")), str(held.get("namespace", "")))
        message = f"PV {stand_in.volume} bound to unexpected claim {whose}"
        return (Tell(CLAIM, target_obj, "ErrUnexpectedClaim", message, warning=True),)
    as_seen = {"resourceVersion": meta.meta(volume).get("resourceVersion")}
    reference = {
        "apiVersion": CLAIM.api_version,
        "kind": CLAIM.kind,
        "namespace": meta.namespace(target_obj),
        "name": meta.name(target_obj),
        "uid": meta.uid(target_obj),
        "resourceVersion": meta.meta(target_obj).get("resourceVersion"),
    }
    return (Merge(VOLUME, Key(stand_in.volume), {"metadata": as_seen, "spec": {"claimRef": reference}}),)
