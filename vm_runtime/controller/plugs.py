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
from diskyard.api.job import Report, TerminationMessage
from diskyard.api.meta import INSTANCE, POD, Obj
from diskyard.api.names import derived, kubernetes, kubevirt
from diskyard.api.pod import Worker, pod
from diskyard.kube.client import DELETE
from diskyard.kube.reconcile import Action, Create, Delete, Tell
from vm_runtime.controller import supply
from vm_runtime.controller.luggage import Piece, claim_pieces
from vm_runtime.controller.pod import CONSUME, LAUNCHER
from vm_runtime.controller.supply import Supply

LEND: Final = "--lend"


def lender(obj: Obj, instance: Instance, wanted: Supply) -> Obj:
    """The pod that holds the claim of one volume."""
    size = str(instance.claims[wanted.volume.name].size)
    name = derived.lender_pod(wanted.volume.name, instance.uid)
    return _pod(obj, instance, wanted, name, LEND, wanted.volume.name, size)


def consumer(obj: Obj, instance: Instance, wanted: Supply) -> Obj:
    """The pod that only uses the claim, where the guest is, so that what waits for a first consumer is bound."""
    name = derived.plug_consumer_pod(wanted.volume.name, instance.uid)
    made = _pod(obj, instance, wanted, name, CONSUME)
    made["metadata"]["annotations"][kubevirt.EPHEMERAL_PROVISIONING] = "true"
    return made


def _pod(obj: Obj, instance: Instance, wanted: Supply, name: str, *words: str) -> Obj:
    (claim,) = claim_pieces(replace(instance, volumes=(wanted.volume,)))
    private = Piece(kubevirt.PRIVATE_VOLUME, {"emptyDir": {}}, kubevirt.PRIVATE_DIR)
    worker = Worker(
        container="hotplug-disk",
        command=(LAUNCHER, *words),
        mounts=tuple((each.name, each.path) for each in (private, claim) if not each.block),
        devices=((claim.name, claim.path),) if claim.block else (),
        volumes=(private.volume, claim.volume),
        grace=0,
    )
    metadata = {
        "name": name,
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
    there = {volume(each): each for each in lending if not _only_consumes(each)}
    consuming = {volume(each): each for each in lending if _only_consumes(each)}
    waiting = {each.volume.name: each for each in wanted if each.waits_for_consumer and not each.bound}
    for name in waiting.keys() - consuming.keys():
        if waiting[name].claim is not None:
            yield Create(POD, consumer(obj, instance, waiting[name]))
    yield from retired([consuming[name] for name in consuming.keys() - waiting.keys()])
    for each in wanted:
        if each.ready and not each.holder and each.volume.name not in there:
            made = lender(obj, instance, each)
            yield Create(POD, made)
            text = f"Created attachment pod {meta.name(made)}"
            yield Tell(INSTANCE, obj, "SuccessfulCreate", text)
    names = {each.volume.name for each in wanted}
    plugged = report.plugged if report else {}
    for name, lent in there.items():
        over = meta.phase(lent) in ("Succeeded", "Failed")
        if over or (name not in plugged and name not in names):
            yield from retired((lent,))


def retired(lending: Sequence[Obj]) -> Iterator[Action]:
    """Take these pods away."""
    for each in lending:
        if not meta.deleting(each):
            yield Delete(POD, meta.key(each), replace(DELETE, uid=meta.uid(each), grace=0))


def statuses(wanted: Sequence[Supply], lending: Sequence[Obj], report: Report | None) -> list[Obj]:
    """Their entries of status.volumeStatus, what is on its way out among them."""
    # The pod of a disc that is on its way out must not lend it to the one that follows.
    there = {volume(each): each for each in lending if not _only_consumes(each) and not meta.deleting(each)}
    plugged = report.plugged if report else {}
    troubles = report.troubles if report else {}
    found = []
    for each in wanted:
        name = each.volume.name
        entry: Obj = {"name": name, "target": plugged.get(name, "")}
        if each.claim is not None:
            entry["persistentVolumeClaimInfo"] = supply.claim_info(each.claim, each.overhead)
        found.append({**entry, **_lent(there.get(name)), **_stage(each, there.get(name), report)})
    names = {each.volume.name for each in wanted}
    leaving = [name for name in plugged if name not in names]
    return found + [
        {"name": name, "target": plugged[name], "phase": "Detaching", "reason": "VolumeDetaching",
         "message": troubles.get(name) or f"volume {name} is being taken from the guest", **_lent(there.get(name))}
        for name in leaving
    ]  # fmt: skip


def _only_consumes(pod: Obj) -> bool:
    return kubevirt.EPHEMERAL_PROVISIONING in meta.annotations(pod)


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
    if lending is not None and (trouble := _trouble(pods.facts(lending))):
        return {"phase": "AttachedToNode", "reason": "FailedMount", "message": trouble}
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
        "message": f"PVC is in phase {meta.phase(wanted.claim or {}) or 'Pending'}",
    }


def _trouble(facts: pods.Facts) -> str:
    """Why a pod that is to hold a claim does not; empty: it does, or is on its way."""
    if facts.running:
        return ""
    end = facts.end or facts.last_end
    if end is not None:
        return TerminationMessage.from_text(end.message).message or f"its pod ended with code {end.code}"
    return facts.unschedulable or (facts.waiting or ("", ""))[1]
