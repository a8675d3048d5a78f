"""What holds for the metadata of every object: names, labels, annotations, owners, finalizers. Pure.

Rules and wording: Kubernetes' `apimachinery` validation.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from diskyard.api import meta
from diskyard.api.meta import NAMESPACE, SERVICE, Kind, Obj
from diskyard.errors import Cause
from standalone.store import rbac

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED: Final = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE: Final = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_LONGEST_NAME: Final = 253
_LONGEST_LABEL: Final = 63
_ANNOTATIONS: Final = 256 * 1024
_OWNER_FIELDS: Final = ("apiVersion", "kind", "name", "uid")


def causes(kind: Kind, obj: Obj, old: Obj | None) -> list[Cause]:
    """Every rule that the object's metadata breaks."""
    return [
        *_name(kind, meta.name(obj)),
        *_labels(meta.meta(obj).get("labels")),
        *_annotations(meta.meta(obj).get("annotations")),
        *_owners(meta.meta(obj).get("ownerReferences")),
        *_finalizers(obj, old),
    ]


def _name(kind: Kind, name: str) -> Iterator[Cause]:
    if kind in rbac.KINDS:
        yield from rbac.name_causes(name)
        return
    what, pattern, longest = "subdomain", _SUBDOMAIN, _LONGEST_NAME
    characters, example = "characters, '-' or '.'", "'example.com'"
    if kind in (NAMESPACE, SERVICE):
        what, pattern, longest = "label", _LABEL, _LONGEST_LABEL
        characters, example = "characters or '-'", "'my-name',  or '123-abc'"
    if len(name) > longest:
        yield Cause(
            f'Invalid value: "{name[:300]}": must be no more than {longest} characters', "metadata.name"
        )
    elif not re.fullmatch(pattern, name):
        yield Cause(
            f'Invalid value: "{name}": a lowercase RFC 1123 {what} must consist of lower case alphanumeric '
            f"{characters}, and must start and end with an alphanumeric character (e.g. {example}, "
            f"regex used for validation is '{pattern}')",
            "metadata.name",
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
            yield Cause(f'Invalid value: "": {missing} must not be empty', f"{field}.{missing}")
    if sum(bool(owner.get("controller")) for owner in owners or []) > 1:
        yield Cause("Invalid value: Only one reference can have Controller set to true", field)


def _finalizers(obj: Obj, old: Obj | None) -> Iterator[Cause]:
    field = "metadata.finalizers"
    finalizers = meta.meta(obj).get("finalizers") or []
    if not isinstance(finalizers, list) or not all(isinstance(name, str) for name in finalizers):
        yield Cause("Invalid value: must be a list of names", field)
        return
    for name in finalizers:
        yield from _qualified(name, field)
    if old is not None and meta.deleting(old):
        added = sorted(set(finalizers) - set(meta.meta(old).get("finalizers") or []))
        if added:
            quoted = ", ".join(f'"{name}"' for name in added)
            yield Cause(
                "Forbidden: no new finalizers can be added if the object is being deleted, "
                f"found new finalizers []string{{{quoted}}}",
                field,
                "FieldValueForbidden",
            )


def _qualified(name: str, field: str) -> Iterator[Cause]:
    prefix, slash, last = name.rpartition("/")
    if slash and (len(prefix) > _LONGEST_NAME or not re.fullmatch(_SUBDOMAIN, prefix)):
        yield Cause(
            f'Invalid value: "{name[:300]}": prefix part must be a lowercase RFC 1123 subdomain', field
        )
    if len(last) > _LONGEST_LABEL:
        yield Cause(f'Invalid value: "{name[:300]}": name part must be no more than 63 characters', field)
    elif not re.fullmatch(_QUALIFIED, last):
        yield Cause(
            f'Invalid value: "{name[:300]}": name part must consist of alphanumeric characters, '
            "'-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or "
            f"'my.name',  or '123-abc', regex used for validation is '{_QUALIFIED}')",
            field,
        )
