"""Kinds as people type them: `dv`, `vms`, `DataVolume`, `datavolumes.cdi.kubevirt.io`, `dv,vm`, `all`."""

from collections.abc import Iterator
from dataclasses import replace

from diskyard.api.meta import KINDS, Kind
from diskyard.errors import InvalidRequest


def kinds(text: str) -> tuple[Kind, ...]:
    """The kinds that a word, a category or a list with commas means. Raises InvalidRequest."""
    found = (kind for word in text.lower().split(",") if word for kind in _meant(word))
    return tuple(dict.fromkeys(found))


def of_manifest(api_version: str, kind: str) -> Kind:
    """The kind of an object in a file, in the version that the file says. Raises InvalidRequest."""
    group, _, version = api_version.rpartition("/")
    for known in KINDS:
        if (known.group, known.kind) == (group, kind) and version in (known.version, *known.older):
            return replace(known, version=version)
    served = ", ".join(f"{known.kind} in {known.api_version}" for known in KINDS if known.kind == kind)
    raise InvalidRequest(
        f"no kind {kind!r} in {api_version!r}"
        + (
            f"; there is {served}"
            if served
            else "; expected one of " + ", ".join(known.kind for known in KINDS)
        )
    )


def _meant(word: str) -> Iterator[Kind]:
    found = [kind for kind in KINDS if word in _names(kind)] or [
        kind for kind in KINDS if word in kind.categories
    ]
    if not found:
        known = ", ".join((kind.short or (kind.plural,))[0] for kind in KINDS)
        raise InvalidRequest(f"no kind is called {word!r}; expected one of {known}")
    yield from found


def _names(kind: Kind) -> tuple[str, ...]:
    return (kind.singular, kind.plural, kind.resource, *kind.short)
