"""A phase, and what is told when it is reached. Pure."""

from dataclasses import dataclass

from diskyard.api.datavolume import Phase
from diskyard.api.names import cdi
from diskyard.api.storage import Claim


@dataclass(frozen=True)
class Event:
    """What is told when the phase changes."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True)
class Outcome:
    """A phase, and what is told when it is another one than before."""

    phase: str
    event: Event | None = None


def held_back(claim: Claim, *, populated: bool) -> Outcome:
    """The class waits for a consumer, and none has come: whom it waits for, and how to go on without."""
    phase, word = (Phase.POPULATING, "Pending Population") if populated else (Phase.WAITING, "Pending")
    message = (
        f"PVC {claim.key.name} {word}: StorageClass {claim.storage_class} waits for the first pod that uses it; to "
        f"fill it at once, annotate the DataVolume with {cdi.IMMEDIATE_BINDING}"
    )
    return Outcome(phase, Event("PendingPopulation" if populated else "WaitForFirstConsumer", message))
