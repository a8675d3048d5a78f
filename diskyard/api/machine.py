"""What we read of a VirtualMachine: when its instance is to run, and what it is made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from diskyard.api import meta
from diskyard.api.instance import part, parts
from diskyard.api.meta import Key, Obj


class Strategy(StrEnum):
    """When an instance is to run."""

    ALWAYS = "Always"
    RERUN = "RerunOnFailure"
    MANUAL = "Manual"
    ONCE = "Once"
    HALTED = "Halted"


@dataclass(frozen=True)
class Request:
    """Someone's wish, by a subresource, to start or stop: one of status.stateChangeRequests."""

    action: str
    """`Start` or `Stop`."""
    uid: str = ""
    """The instance that is to stop."""
    paused: bool = False
    """Whether what is started begins halted."""


@dataclass(frozen=True)
class StartFailure:
    """How often in a row the instance has failed, and when it may be tried again."""

    count: int = 0
    last_uid: str = ""
    retry_after: str = ""
    """RFC 3339."""


@dataclass(frozen=True)
class Machine:
    """A guest that outlives its instances."""

    key: Key
    uid: str
    generation: int
    deleting: bool
    strategy: Strategy
    template: Obj
    data_volumes: tuple[Obj, ...]
    """spec.dataVolumeTemplates, as they stand."""
    requests: tuple[Request, ...]
    failure: StartFailure


def machine(obj: Obj) -> Machine:
    """The machine that an admitted object says."""
    spec, status = meta.spec(obj), meta.status(obj)
    failure = part(status, "startFailure")
    return Machine(
        key=meta.key(obj),
        uid=meta.uid(obj),
        generation=int(meta.meta(obj).get("generation") or 0),
        deleting=meta.deleting(obj),
        strategy=strategy(spec),
        template=part(spec, "template"),
        data_volumes=tuple(parts(spec, "dataVolumeTemplates")),
        requests=_requests(status),
        failure=StartFailure(
            count=int(failure.get("consecutiveFailCount") or 0),
            last_uid=str(failure.get("lastFailedVMIUID") or ""),
            retry_after=str(failure.get("retryAfterTimestamp") or ""),
        ),
    )


def strategy(spec: Obj) -> Strategy:
    """The run strategy; the old switch `running` reads as Always or Halted."""
    said = spec.get("runStrategy")
    if said in set(Strategy):
        return Strategy(said)
    return Strategy.ALWAYS if spec.get("running") is True else Strategy.HALTED


def wire(requests: Sequence[Request]) -> list[Obj]:
    """The requests as they stand in the status."""
    return [
        {
            "action": each.action,
            **({"uid": each.uid} if each.uid else {}),
            **({"data": {"paused": "true"}} if each.paused else {}),
        }
        for each in requests
    ]


def _requests(status: Obj) -> tuple[Request, ...]:
    return tuple(
        Request(
            str(each.get("action") or ""),
            str(each.get("uid") or ""),
            paused=part(each, "data").get("paused") == "true",
        )
        for each in parts(status, "stateChangeRequests")
    )
