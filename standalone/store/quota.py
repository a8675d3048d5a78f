"""ResourceQuota: how much a namespace holds of what its quotas name, and what would be too much. Pure.

Enforced are claims (their number and size, also by class), pods, and counts of any kind; a quota that names anything
else is refused, because nobody here would keep it.
https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from diskyard.api import meta, quantity
from diskyard.api.meta import CLAIM, CONFIG_MAP, POD, RESOURCE_QUOTA, SECRET, SERVICE, Obj
from diskyard.api.names.kubernetes import CLASS_QUOTA
from diskyard.errors import Cause, InvalidRequest
from standalone.store.log import Record

Usage = dict[str, int]
"""By the names that quotas have for things; bytes, or how many."""

COUNT: Final = "count/"
STORAGE: Final = "requests.storage"
_SIMPLE: Final = {kind.plural: kind for kind in (POD, CLAIM, CONFIG_MAP, SECRET, SERVICE, RESOURCE_QUOTA)}
_OVER: Final = ("Succeeded", "Failed")


def causes(quota: Obj, _: Obj | None) -> Iterator[Cause]:
    """What is wrong with a quota."""
    spec = meta.spec(quota)
    for field in ("scopes", "scopeSelector"):
        if spec.get(field):
            told = "Forbidden: quotas with scopes are not enforced here: leave them out"
            yield Cause(told, f"spec.{field}", "FieldValueForbidden")
    for name, most in (spec.get("hard") or {}).items():
        field = f"spec.hard[{name}]"
        if not (name in _SIMPLE or name == STORAGE or name.startswith(COUNT) or CLASS_QUOTA in name):
            known = ", ".join(f'"{one}"' for one in (*sorted(_SIMPLE), STORAGE, f"{COUNT}RESOURCE"))
            told = (
                f'Unsupported value: "{name[:100]}": supported values: {known}, "CLASS{CLASS_QUOTA}{STORAGE}"'
            )
            yield Cause(told, field, "FieldValueNotSupported")
            continue
        try:
            wrong = quantity.value(most) < 0
        except InvalidRequest as error:
            yield Cause(f'Invalid value: "{most}": {error}', field)
            continue
        if wrong:
            yield Cause(f'Invalid value: "{most}": must be greater than or equal to 0', field)


def of(resource: str, obj: Callable[[], Obj]) -> Usage:
    """What one object takes; it is only looked at where that matters."""
    used = {f"{COUNT}{resource}": 1}
    if resource == POD.resource:
        return used | ({} if meta.phase(obj()) in _OVER else {resource: 1})
    if resource == CLAIM.resource:
        spec = meta.spec(obj())
        asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage", 0)
        one = {CLAIM.plural: 1, STORAGE: quantity.parse(asked)}
        class_ = spec.get("storageClassName")
        return used | one | ({f"{class_}{CLASS_QUOTA}{name}": n for name, n in one.items()} if class_ else {})
    return used | ({resource: 1} if resource in _SIMPLE else {})


def used(records: Iterable[Record]) -> Usage:
    """What all of them take together."""
    total: Usage = {}
    for record in records:
        for name, amount in of(record.resource, record.obj).items():
            total[name] = total.get(name, 0) + amount
    return total


def resources(quotas: Iterable[Obj]) -> set[str]:
    """The resources whose objects count for these quotas."""
    found = set()
    for quota in quotas:
        for name in hard(quota):
            if name.startswith(COUNT):
                found.add(name.removeprefix(COUNT))
            elif name == STORAGE or CLASS_QUOTA in name:
                found.add(CLAIM.resource)
            else:
                found.add(name)
    return found


def hard(quota: Obj) -> Mapping[str, Any]:
    """What a quota allows."""
    found = meta.spec(quota).get("hard")
    return found if isinstance(found, dict) else {}


def exceeded(quota: Obj, taken: Usage, more: Usage) -> str:
    """What a quota says to so much more than is taken; empty: it fits."""
    limits = {name: quantity.value(most) for name, most in hard(quota).items()}
    over = [
        name
        for name in sorted(limits)
        if more.get(name, 0) > 0 and Decimal(taken.get(name, 0) + more[name]) > limits[name]
    ]
    if not over:
        return ""
    sides = (
        ("requested", {name: shown(name, more[name]) for name in over}),
        ("used", {name: shown(name, taken.get(name, 0)) for name in over}),
        ("limited", {name: hard(quota)[name] for name in over}),
    )
    said = [
        f"{side}: {','.join(f'{name}={one}' for name, one in amounts.items())}" for side, amounts in sides
    ]
    return f"exceeded quota: {meta.name(quota)}, {', '.join(said)}"


def status(quota: Obj, taken: Usage) -> Obj:
    """How a quota stands."""
    limits = hard(quota)
    return {"hard": dict(limits), "used": {name: shown(name, taken.get(name, 0)) for name in limits}}


def shown(name: str, amount: int) -> str:
    """An amount as the quota's name measures it."""
    return quantity.canonical(amount) if name.endswith(STORAGE) else str(amount)
