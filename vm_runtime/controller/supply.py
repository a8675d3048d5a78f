"""What an instance's volumes stand on: its claims, what fills them, and who else uses them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from diskyard.api import instance as instances
from diskyard.api import meta, storage
from diskyard.api.instance import EPHEMERAL, Instance, Volume, part
from diskyard.api.meta import Obj

SUCCEEDED: Final = "Succeeded"
FIRST_CONSUMER: Final = ("WaitForFirstConsumer", "PendingPopulation")
"""Phases in which a DataVolume waits for a pod that uses its claim."""
PREALLOCATED: Final = ("/storage.preallocation", "/storage.thick-provisioned")
"""Parts of a claim's annotations that say that no hole is wanted in its disk."""


@dataclass(frozen=True)
class Supply:
    """A volume that is a claim, the claim, and the DataVolume that fills it."""

    volume: Volume
    claim: Obj | None
    data_volume: Obj | None
    holder: str = ""
    """Another instance whose launcher uses the claim."""
    overhead: str = "0"
    """The fraction of the claim that its file system takes."""

    @property
    def waits_for_consumer(self) -> bool:
        """Whether nothing goes on before a pod uses the claim."""
        return self.data_volume is not None and meta.phase(self.data_volume) in FIRST_CONSUMER

    @property
    def bound(self) -> bool:
        """Whether the claim has its volume."""
        return self.claim is not None and meta.phase(self.claim) == "Bound"

    @property
    def ready(self) -> bool:
        """Whether the claim is there and holds all that is to be in it."""
        if self.claim is None:
            return False
        if self.data_volume is not None:
            return meta.phase(self.data_volume) == SUCCEEDED
        found = storage.claim(self.claim)
        return not found.pod_phase or found.filled

    @property
    def missing(self) -> bool:
        """Whether there is no claim, and nothing that will make it."""
        return self.claim is None and self.data_volume is None


def filler(claim: Obj | None, volume: Volume) -> str:
    """The DataVolume behind a volume: the claim's owner, else the claim's namesake."""
    owner = meta.controller_of(claim) if claim else None
    if owner and owner.get("kind") == "DataVolume":
        return str(owner.get("name") or volume.claim)
    return volume.claim


def volume_status(instance: Instance, supplies: Sequence[Supply]) -> list[Obj]:
    """status.volumeStatus: each volume's name, device, and what is known of its claim."""
    on_claims = {supply.volume.name: supply for supply in supplies}
    devices = instances.targets(instance.disks)
    found = []
    for volume in instance.volumes:
        entry: Obj = {"name": volume.name, "target": devices.get(volume.name, "")}
        supply = on_claims.get(volume.name)
        if supply is not None and supply.claim is not None:
            entry["persistentVolumeClaimInfo"] = claim_info(supply.claim, supply.overhead)
        found.append(entry)
    return found


def contested(instance: Instance, volume: Volume) -> bool:
    """Whether the volume's claim must be its guest's alone."""
    return not any(disk.shareable for disk in instance.disks if disk.name == volume.name)


def uses(pod: Obj, volume: Volume) -> bool:
    """Whether a pod uses the volume's claim in a way that keeps the volume's guest out: readers bear with readers."""
    claims = (part(each, "persistentVolumeClaim") for each in meta.spec(pod).get("volumes") or ())
    ways = [claim for claim in claims if claim.get("claimName") == volume.claim]
    if volume.kind == EPHEMERAL or volume.source.get("readOnly"):
        return any(not claim.get("readOnly") for claim in ways)
    return bool(ways)


def holders(pods: Sequence[Mapping[str, object]], uid: str) -> list[Obj]:
    """The pods among them that are alive and not of the instance with that uid."""
    return [
        dict(pod)
        for pod in pods
        if meta.phase(dict(pod)) not in ("Succeeded", "Failed")
        and (meta.controller_of(dict(pod)) or {}).get("uid") != uid
    ]


def claim_info(claim: Obj, overhead: str) -> Obj:
    """What status.volumeStatus says of a claim, of which that fraction goes to its file system."""
    spec, status = meta.spec(claim), meta.status(claim)
    annotations = meta.annotations(claim)
    return {
        "claimName": meta.name(claim),
        "accessModes": spec.get("accessModes") or [],
        "volumeMode": spec.get("volumeMode") or "Filesystem",
        "capacity": part(status, "capacity"),
        "requests": part(part(spec, "resources"), "requests"),
        "preallocated": any(
            text == "true" and any(sign in key for sign in PREALLOCATED) for key, text in annotations.items()
        ),
        "filesystemOverhead": overhead,
    }


def progress(supply: Supply) -> str:
    """Where a volume's DataVolume stands, for a message."""
    if supply.data_volume is None:
        return f"claim {supply.volume.claim} is still being filled"
    phase = meta.phase(supply.data_volume) or "not begun"
    done = str(meta.status(supply.data_volume).get("progress") or "")
    return f"DataVolume {meta.name(supply.data_volume)} is {phase}" + (
        f" ({done})" if done.endswith("%") else ""
    )
