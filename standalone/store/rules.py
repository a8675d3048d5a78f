"""What holds for the metadata of every object: names, labels, annotations, owners, finalizers. Pure.

Rules and wording: Kubernetes' `apimachinery` validation.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from diskyard.api import meta
from diskyard.api.meta import CORE_KINDS, CRD, NAMESPACE, SERVICE, Kind, Obj
from diskyard.api.names import kubernetes
from diskyard.errors import Cause
from standalone.store import rbac

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED: Final = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE: Final = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_LONGEST_NAME: Final = 253
_LONGEST_LABEL: Final = 63
_ANNOTATIONS: Final = 256 * 1024
_OWNER_FIELDS: Final = {"apiVersion": "version ", "kind": "", "name": "", "uid": ""}
"""What an owner must say, and how Kubernetes calls it when it is missing."""
_FINALIZERS: Final = ("kubernetes", kubernetes.ORPHAN, kubernetes.FOREGROUND)
"""Names without a prefix that Kubernetes' own kinds can be held by."""


def causes(kind: Kind, obj: Obj, old: Obj | None) -> list[Cause]:
    """Every rule that the object's metadata breaks."""
    return [
        *_name(kind, meta.name(obj)),
        *_labels(meta.meta(obj).get("labels")),
        *_annotations(meta.meta(obj).get("annotations")),
        *_owners(meta.meta(obj).get("ownerReferences")),
        *_finalizers(kind, obj, old),
    ]


def _name(kind: Kind, name: str) -> Iterator[Cause]:
    field = "metadata.name"
    if kind in rbac.KINDS:
        yield from rbac.name_causes(name)
    elif kind not in (NAMESPACE, SERVICE):
        yield from subdomain(name, field)
    elif len(name) > _LONGEST_LABEL:
        yield Cause(f'Invalid value: "{name[:300]}": must be no more than {_LONGEST_LABEL} characters', field)
    elif not re.fullmatch(_LABEL, name):
        told = (
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
            "and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
            f"'{_LABEL}')"
        )
        said = "must not contain dots" if re.fullmatch(_SUBDOMAIN, name) else told
        yield Cause(f'Invalid value: "{name}": {said}', field)


def subdomain(name: str, field: str) -> Iterator[Cause]:
    """What is wrong with a name that may have dots, as most names may."""
    if len(name) > _LONGEST_NAME:
        yield Cause(f'Invalid value: "{name[:300]}": must be no more than {_LONGEST_NAME} characters', field)
    elif not re.fullmatch(_SUBDOMAIN, name):
        yield Cause(
            f'Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric '
            "characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', "
            f"regex used for validation is '{_SUBDOMAIN}')",
            field,
        )


def _labels(labels: Any) -> Iterator[Cause]:
    field = "metadata.labels"
    if not isinstance(labels or {}, dict):
        yield Cause(f'Invalid value: "{type(labels).__name__}": must be a map of strings', field)
        return
    for name, value in (labels or {}).items():
        yield from _qualified(name, field)
        if not isinstance(value, str):
            yield Cause(f"Invalid value: {value!r}: must be a string", field)
        elif len(value) > _LONGEST_LABEL:
            yield Cause(f'Invalid value: "{value[:300]}": must be no more than 63 characters', field)
        elif not re.fullmatch(_VALUE, value):
            yield Cause(
                f'Invalid value: "{value}": a valid label must be an empty string or consist of alphanumeric '
                "characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
                f"'MyValue',  or 'my_value',  or '12345', regex used for validation is '{_VALUE}')",
                field,
            )


def _annotations(annotations: Any) -> Iterator[Cause]:
    field = "metadata.annotations"
    if not isinstance(annotations or {}, dict):
        yield Cause(f'Invalid value: "{type(annotations).__name__}": must be a map of strings', field)
        return
    size = 0
    for name, value in (annotations or {}).items():
        yield from _qualified(name.lower(), field)
        if not isinstance(value, str):
            yield Cause(f"Invalid value: {value!r}: must be a string", field)
        else:
            size += len(name.encode()) + len(value.encode())
    if size > _ANNOTATIONS:
        yield Cause(f"Too long: may not be more than {_ANNOTATIONS} bytes", field, "FieldValueTooLong")


def _owners(owners: Any) -> Iterator[Cause]:
    field = "metadata.ownerReferences"
    if not isinstance(owners or [], list) or not all(isinstance(owner, dict) for owner in owners or []):
        yield Cause("Invalid value: must be a list of references", field)
        return
    for owner in owners or []:
        for missing in (name for name in _OWNER_FIELDS if not owner.get(name)):
            yield Cause(f'Invalid value: "": {_OWNER_FIELDS[missing]}must not be empty', f"{field}.{missing}")
    if sum(bool(owner.get("controller")) for owner in owners or []) > 1:
        yield Cause("Invalid value: Only one reference can have Controller set to true", field)


def _finalizers(kind: Kind, obj: Obj, old: Obj | None) -> Iterator[Cause]:
    field = "metadata.finalizers"
    finalizers = meta.meta(obj).get("finalizers") or []  # as it was sent: anything
    if not isinstance(finalizers, list) or not all(isinstance(name, str) for name in finalizers):
        yield Cause("Invalid value: must be a list of names", field)
        return
    for index, name in enumerate(finalizers):
        yield from _qualified(name, field)
        if kind in CORE_KINDS and kind != CRD and "/" not in name and name not in _FINALIZERS:
            told = "name is neither a standard finalizer name nor is it fully qualified"
            yield Cause(f'Invalid value: "{name}": {told}', f"{field}[{index}]")
    if old is not None and meta.deleting(old):
        added = sorted(set(finalizers) - set(meta.finalizers(old)))
        if added:
            quoted = ", ".join(f'"{name}"' for name in added)
            yield Cause(
                "Forbidden: no new finalizers can be added if the object is being deleted, "
                f"found new finalizers []string{{{quoted}}}",
                field,
                "FieldValueForbidden",
            )


def moved(asked: Obj, old: Obj) -> list[Cause]:
    """When an object goes, nobody can write; to say nothing about it is no change."""
    name = "deletionTimestamp"
    said = meta.meta(asked).get(name)
    if not said or said == meta.meta(old).get(name):
        return []
    return [Cause(f'Invalid value: "{said}": field is immutable', f"metadata.{name}")]


def unqualified(name: str) -> Iterator[str]:
    """What is wrong with a name such as labels, annotations and finalizers have: `example.com/name`."""
    prefix, slash, last = name.partition("/")
    rule = (
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
        f"character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_QUALIFIED}')"
    )
    if "/" in last:
        yield f"a qualified name {rule} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return
    if not slash:
        last = prefix
    elif not prefix:
        yield "prefix part must be non-empty"
    elif len(prefix) > _LONGEST_NAME:
        yield f"prefix part must be no more than {_LONGEST_NAME} characters"
    elif not re.fullmatch(_SUBDOMAIN, prefix):
        yield (
            "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
            "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for "
            f"validation is '{_SUBDOMAIN}')"
        )
    if not last:
        yield "name part must be non-empty"
    elif len(last) > _LONGEST_LABEL:
        yield f"name part must be no more than {_LONGEST_LABEL} characters"
    if not re.fullmatch(_QUALIFIED, last):
        yield f"name part {rule}"


def _qualified(name: str, field: str) -> Iterator[Cause]:
    for told in unqualified(name):
        yield Cause(f'Invalid value: "{name[:300]}": {told}', field)
