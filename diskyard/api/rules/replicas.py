"""Admission of replica sets of instances, in KubeVirt's words. Pure."""

from collections.abc import Iterator, Sequence

from diskyard.api import meta, selector
from diskyard.api.instance import part, parts
from diskyard.api.meta import Obj
from diskyard.api.rules import instance
from diskyard.api.settings import UNSET, Settings
from diskyard.errors import Cause

_VALUES = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}
"""An operator -> whether it needs values."""


def causes(obj: Obj, old: Obj | None, settings: Settings = UNSET) -> Sequence[Cause]:
    """What is wrong with a replica set; `old` as it is stored. What has not been changed is not judged again."""
    if old is not None and meta.spec(old) == meta.spec(obj):
        return ()
    return tuple(_causes(meta.spec(obj), settings))


def _causes(spec: Obj, settings: Settings) -> Iterator[Cause]:
    template, wanted = part(spec, "template"), part(spec, "selector")
    if not template:
        yield Cause("missing virtual machine template.", "spec.template", "FieldValueRequired")
        return
    replicas = spec.get("replicas")
    if isinstance(replicas, int) and replicas < 0:
        yield Cause(f"spec.replicas must be 0 or more, found {replicas}", "spec.replicas")
    filled = instance.spec_defaults(part(template, "spec"), settings)
    yield from instance.spec_causes(filled, "spec.template.spec", settings)
    wrong = next(_wrong(wanted), "")
    if wrong:
        yield Cause(wrong, "spec.selector")
    elif not wanted or not selector.fits(wanted, meta.labels(template)):
        yield Cause("selector does not match labels.", "spec.selector")


def _wrong(wanted: Obj) -> Iterator[str]:
    for rule in parts(wanted, "matchExpressions"):
        operator, values = rule.get("operator"), rule.get("values") or []
        if operator not in _VALUES:
            yield f'"{operator}" is not a valid label selector operator'
        elif _VALUES[operator] != bool(values):
            yield f"values of {rule.get('key')} {operator}: expected {'some' if _VALUES[operator] else 'none'}"
