"""Names of objects that we make: derived from what they serve, never stored."""

import hashlib
import re

from diskyard.api.names import cdi

MAX_NAME = 253
LONGEST_LABEL = 63
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,35}[A-Za-z0-9])?")
"""What a name in an annotation's key may end in: 63 characters are allowed of all of it."""


def fitted(prefix: str, name: str, limit: int = MAX_NAME) -> str:
    """`prefix-name`; cut, with a hash of the whole in place of what was cut, when longer than `limit`."""
    whole = f"{prefix}-{name}"
    if len(whole) <= limit:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return f"{whole[: limit - 9].rstrip('-.')}-{digest}"


def importer_pod(claim: str, stage: str = "") -> str:
    """`importer-<claim>`: the pod that fills a claim; `importer-<claim>-checkpoint-<stage>`: for one stage of it."""
    if not stage:
        return fitted("importer", claim)
    named = stage if _LABEL.fullmatch(stage) else hashlib.sha256(stage.encode()).hexdigest()[:8]
    return fitted("importer", f"{claim}-checkpoint-{named}")


def copied(stage: str) -> str:
    """The annotation that says that a stage is on the disk; of a stage whose name fits none, by its hash."""
    named = stage if _NAME.fullmatch(stage) else hashlib.sha256(stage.encode()).hexdigest()[:16]
    return f"{cdi.CHECKPOINT_COPIED}{named}"


def prime(target_uid: str) -> str:
    """`prime-<uid>`: the claim that is filled in place of one with a populator, and gives it its volume."""
    return f"prime-{target_uid}"


def import_source(owner_uid: str) -> str:
    """`volume-import-source-<uid>`: what a DataVolume's claim is to be filled from."""
    return f"volume-import-source-{owner_uid}"


def upload_source(owner_uid: str) -> str:
    """`volume-upload-source-<uid>`: says that a DataVolume's claim waits for an upload."""
    return f"volume-upload-source-{owner_uid}"


def clone_source(owner_uid: str) -> str:
    """`volume-clone-source-<uid>`: what a DataVolume's claim is to be cloned from."""
    return f"volume-clone-source-{owner_uid}"


def clone_claim(target_uid: str) -> str:
    """`tmp-pvc-<uid>`: the claim, beside the source, that is filled in place of one that is cloned."""
    return f"tmp-pvc-{target_uid}"


def clone_original(target_uid: str) -> str:
    """`tmp-source-pvc-<uid>`: the claim that is made from a snapshot to be copied, where that cannot be used itself."""
    return f"tmp-source-pvc-{target_uid}"


def clone_snapshot(target_uid: str) -> str:
    """`tmp-snapshot-<uid>`: the snapshot that a clone is made of."""
    return f"tmp-snapshot-{target_uid}"


def preparer_pod(target_uid: str) -> str:
    """`prep-<uid>`: has a clone's volume bound and grown."""
    return f"prep-{target_uid}"


def cloner_pod(stand_in_uid: str) -> str:
    """`<uid>-source-pod`: what reads the source of a copy; its keys have the same name."""
    return f"{stand_in_uid}-source-pod"


def poller(cron: str, uid: str) -> str:
    """`poller-<cron>-<first 8 characters of the uid>`: the pod that looks at a cron's source."""
    return f"{fitted('poller', cron, 54)}-{uid[:8]}"


def boot_test(cron: str, uid: str) -> str:
    """`boot-test-<cron>-<first 8 characters of the uid>`: the guest that a cron's new image is tried in."""
    return f"{fitted('boot-test', cron, 54)}-{uid[:8]}"


def launcher_pod(instance: str, uid: str) -> str:
    """`virt-launcher-<instance>-<5 characters of the uid's hash>`: one pod for one life of an instance."""
    return f"{fitted('virt-launcher', instance, 57)}-{_short(uid)}"


def lender_pod(volume: str, uid: str) -> str:
    """`hp-volume-<volume>-<...>`: the pod that holds a claim which came after its guest had started."""
    return f"{fitted('hp-volume', volume, 57)}-{_short(uid)}"


def consumer_pod(instance: str, uid: str) -> str:
    """The pod that only makes WaitForFirstConsumer claims of an instance bind."""
    return f"{fitted('virt-launcher', instance, 55)}-c{_short(uid)}"


def plug_consumer_pod(volume: str, uid: str) -> str:
    """`hp-volume-<volume>-c<...>`: the pod that only makes the claim of such a volume bind."""
    return f"{fitted('hp-volume', volume, 55)}-c{_short(uid)}"


def instance_label(instance: str) -> str:
    """What `vmi.kubevirt.io/id` says, by which `virtctl expose` finds a guest's pod; long names as in KubeVirt."""
    if len(instance) <= LONGEST_LABEL:
        return instance
    digest = hashlib.sha1(instance.encode(), usedforsecurity=False).hexdigest()[:8]
    return f"{instance[: LONGEST_LABEL - len(digest) - 1]}-{digest}"


def state_claim(instance: str) -> str:
    """`persistent-state-for-<instance>`: the claim of what its firmware and TPM remember from one life to the next."""
    return fitted("persistent-state-for", instance)


def volume(claim_uid: str) -> str:
    """`pvc-<uid>`: the PersistentVolume provisioned for a claim."""
    return f"pvc-{claim_uid}"


def snapshot_content(snapshot_uid: str) -> str:
    """`snapcontent-<uid>`: the VolumeSnapshotContent of a VolumeSnapshot."""
    return f"snapcontent-{snapshot_uid}"


def snapshot_handle(snapshot_uid: str) -> str:
    """`snapshot-<uid>`: what storage calls it."""
    return f"snapshot-{snapshot_uid}"


def event(name: str, digest: str) -> str:
    """The Event about an object: one for each (object, reason, message), its count grows."""
    return f"{name[:200]}.{digest[:16]}"


def domain(namespace: str, name: str) -> str:
    """`<namespace>_<name>`: the libvirt domain of an instance."""
    return f"{namespace}_{name}"


def _short(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()[:5]


def webhook(kind: str, group: str) -> str:
    """`datavolume-validate.cdi.kubevirt.io`: whose rules an answer quotes when it refuses an object."""
    word = "validate" if group == cdi.GROUP else "validator"
    return f"{kind.lower()}-{word}.{group or 'diskyard.io'}"
