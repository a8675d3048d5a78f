"""Instances with one thing changed, and what admission has against them: for the tables of its tests."""

import copy
from typing import Any

from diskyard.api.meta import Obj
from diskyard.api.rules import instance
from tests import builders

HERE = "spec.domain.devices.disks[0]"


def asked(change: dict[str, Any]) -> Obj:
    """An instance with the value at each dotted path changed; None takes it away, numbers are indexes."""
    obj = builders.stored(builders.instance("vm"))
    obj["spec"] = copy.deepcopy(obj["spec"])
    for path, value in change.items():
        *steps, last = path.split(".")
        place: Any = obj["spec"]
        for step in steps:
            place = place[int(step)] if step.isdigit() else place.setdefault(step, {})
        if value is None:
            place.pop(last)
        else:
            place[int(last) if last.isdigit() else last] = value
    return obj


def refused(change: dict[str, Any]) -> list[tuple[str, str]]:
    """(field, message) of what is wrong with a defaulted instance that has the change."""
    return [(cause.field, cause.message) for cause in instance.causes(instance.defaults(asked(change)), None)]


def disk(**fields: Any) -> dict[str, Any]:
    return {"domain.devices.disks.0": {"name": "root", **fields}}


def card(*networks: Obj, **fields: Any) -> dict[str, Any]:
    return {
        "domain.devices.interfaces": [{"name": "default", **fields}],
        "networks": list(networks) or [{"name": "default", "pod": {}}],
    }


def kernel(**container: str) -> dict[str, Any]:
    return {"domain.firmware": {"kernelBoot": {"container": container}}}
