"""Volumes that come while a guest runs: a pod that holds each claim, and where each of them stands. Pure.

The pod lends its launcher the disk as an open file (agent/plugs.py carries it), so nothing is mounted into a running
pod, and everybody who asks which pods use a claim finds one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from diskyard.api import meta
from diskyard.api import pod as pods
from diskyard.api.instance import Instance
from diskyard.api.job import Report
from diskyard.api.meta import INSTANCE, POD, Obj
from diskyard.api.names import derived, kubernetes, kubevirt
from diskyard.api.pod import Worker, pod
from diskyard.kube.client import DELETE
from diskyard.kube.reconcile import Action, Create, Delete, Tell
from vm_runtime.controller import supply
from vm_runtime.controller.luggage import Piece, claim_pieces
from vm_runtime.controller.supply import Supply

LEND: Final = "--lend"


def lender(obj: Obj, instance: Instance, wanted: Supply) -> Obj:
    """The pod that holds the claim of one volume."""
    alone = replace(instance, volumes=(wanted.volume,))
    (claim,) = claim_pieces(alone)
    private = Piece(kubevirt.PRIVATE_VOLUME, {"emptyDir": {}}, kubevirt.PRIVATE_DIR)
    size = str(instance.claims[wanted.volume.name].size)
    worker = Worker(
        container="hotplug-disk",
        command=("diskyard-launcher", LEND, wanted.volume.name, size),
        mounts=tuple((each.name, each.path) for each in (private, claim) if not each.block),
        devices=((claim.name, claim.path),) if claim.block else (),
        volumes=(private.volume, claim.volume),
        grace=0,
    )
    metadata = {
        "name": derived.lender_pod(wanted.volume.name, instance.uid),
        "namespace": instance.namespace,
        "labels": {kubevirt.APP_LABEL: kubevirt.LENDER, kubevirt.CREATED_BY: instance.uid},
        "annotations": {kubevirt.LENT_VOLUME: wanted.volume.name},
        "ownerReferences": [meta.owner_reference(INSTANCE, obj)],
    }
    return pod(
        worker, metadata, nodeSelector={kubernetes.HOSTNAME_LABEL: str(meta.status(obj).get("nodeName"))}
    )


def volume(lending: Obj) -> str:
    """Which volume's disk a pod lends."""
    return meta.annotations(lending).get(kubevirt.LENT_VOLUME, "")


def actions(
    obj: Obj, instance: Instance, wanted: Sequence[Supply], lending: Sequence[Obj], report: Report | None
) -> Iterator[Action]:
    """Pods for what is to come, and none for what has gone."""
    there = {volume(each): each for each in lending}
    for each in wanted:
        if each.ready and each.bound and not each.holder and each.volume.name not in there:
            made = lender(obj, instance, each)
            yield Create(POD, made)
            text = f"Created attachment pod {meta.name(made)}"
            yield Tell(INSTANCE, obj, "SuccessfulCreate", text)
    names = {each.volume.name for each in wanted}
    plugged = report.plugged if report else {}
    for name, lent in there.items():
        over = meta.phase(lent) in ("Succeeded", "Failed")
        if name not in plugged and (over or name not in names):
            yield from retired((lent,))


def retired(lending: Sequence[Obj]) -> Iterator[Action]:
    """Take these pods away."""
    for each in lending:
        if not meta.deleting(each):
            yield Delete(POD, meta.key(each), replace(DELETE, uid=meta.uid(each), grace=0))


def statuses(wanted: Sequence[Supply], lending: Sequence[Obj], report: Report | None) -> list[Obj]:
    """Their entries of status.volumeStatus, what is on its way out among them."""
    there = {volume(each): each for each in lending}
    plugged = report.plugged if report else {}
    found = []
    for each in wanted:
        name = each.volume.name
        entry: Obj = {"name": name, "target": plugged.get(name, "")}
        if each.claim is not None:
            entry["persistentVolumeClaimInfo"] = supply.claim_info(each.claim)
        found.append({**entry, **_lent(there.get(name)), **_stage(each, there.get(name), report)})
    names = {each.volume.name for each in wanted}
    leaving = [name for name in plugged if name not in names]
    return found + [
        {"name": name, "target": plugged[name], "phase": "Detaching", "reason": "VolumeDetaching",
         "message": f"volume {name} is being taken from the guest", **_lent(there.get(name))}
        for name in leaving
    ]  # fmt: skip


def _lent(lending: Obj | None) -> Obj:
    if lending is None:
        return {"hotplugVolume": {}}
    uid = meta.uid(lending) if pods.facts(lending).running else ""
    said = {"attachPodName": meta.name(lending), **({"attachPodUID": uid} if uid else {})}
    return {"hotplugVolume": said}


def _stage(wanted: Supply, lending: Obj | None, report: Report | None) -> Mapping[str, str]:
    name = wanted.volume.name
    if report and name in report.plugged:
        text = f"Successfully attach hotplugged volume {name} to VM"
        return {"phase": "Ready", "reason": "VolumeReady", "message": text}
    if report and name in report.troubles:
        return {"phase": "MountedToPod", "reason": "FailedAttach", "message": report.troubles[name]}
    if lending is not None:
        text = f"Created hotplug attachment pod {meta.name(lending)}, for volume {name}"
        return {"phase": "AttachedToNode", "reason": "SuccessfulCreate", "message": text}
    if wanted.missing:
        text = f"claim {wanted.volume.claim} does not exist, waiting for it to appear"
        return {"phase": "Pending", "reason": "FailedPvcNotFound", "message": text}
    if wanted.holder:
        text = f"claim {wanted.volume.claim} is in use by guest {wanted.holder}: stop that guest"
        return {"phase": "Pending", "reason": "ClaimInUse", "message": text}
    if not wanted.ready:
        return {"phase": "Pending", "reason": "PVCNotReady", "message": supply.progress(wanted)}
    return {
        "phase": "Bound" if wanted.bound else "Pending",
        "reason": "PVCNotReady",
        "message": "PVC is in phase Bound",
    }
