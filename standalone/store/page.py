"""Lists in pieces, and lists as they stood: what was asked for, and the token that leads to the next piece. Pure.

https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks
"""

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from diskyard.api.meta import Key, Kind
from diskyard.errors import ApiError, BadRequest, Cause, Expired
from standalone.store import answers
from standalone.store.log import Record

EXACT: Final = "Exact"
NOT_OLDER: Final = "NotOlderThan"
_OPTIONS: Final = Kind("meta.k8s.io", "v1", "ListOptions", "listoptions", namespaced=False)
_VERSION: Final = "meta.k8s.io/v1"
_LONGEST_TOKEN: Final = 4096
_LATEST: Final = -1
"""In a token: no revision of its own, go on with whatever is there."""


@dataclass(frozen=True)
class Asking:
    """Which part of a list, and as of when: Kubernetes' ListOptions, apart from the selectors."""

    limit: int = 0
    token: str = ""
    """`continue`."""
    resource_version: str = ""
    match: str = ""
    """`resourceVersionMatch`."""
    initial: bool | None = None
    """`sendInitialEvents`."""


WHOLE: Final = Asking()


@dataclass(frozen=True)
class Point:
    """Where a piece begins: after `after` (empty: at the start), at a revision (None: the latest)."""

    revision: int | None = None
    after: str = ""


@dataclass(frozen=True)
class Piece:
    """A piece of a list; `token` leads to the next one, `remaining` counts what is behind it."""

    records: tuple[Record, ...]
    revision: str
    token: str = ""
    remaining: int | None = None

    def metadata(self) -> dict[str, Any]:
        """The piece's ListMeta."""
        return {
            "resourceVersion": self.revision,
            **({"continue": self.token} if self.token else {}),
            **({"remainingItemCount": self.remaining} if self.remaining else {}),
        }


class TooOld(Expired):
    """410: the list that the token belongs to is forgotten; `token` goes on with what is there now."""

    def __init__(self, token: str) -> None:
        super().__init__(
            "The provided continue parameter is too old to display a consistent list result. You can start a new "
            "list without the continue parameter, or use the continue token in this response to retrieve the "
            "remainder of the results. Continuing with the provided token results in an inconsistent list - objects "
            "that were created, modified, or deleted between the time the first chunk was returned and now may show "
            "up in the list."
        )
        self.token = token

    def status(self) -> dict[str, Any]:
        return {**super().status(), "metadata": {"continue": self.token}}


class TooNew(ApiError):
    """504: a revision that is yet to come."""

    code = 504
    reason = "Timeout"

    def __init__(self, asked: int, latest: int) -> None:
        told = Cause("Too large resource version", reason="ResourceVersionTooLarge")
        super().__init__(
            f"Too large resource version: {asked}, current: {latest}",
            [told],
            details={"retryAfterSeconds": 1},
        )


def path(key: Key) -> str:
    """What lists are in order of: a key as Kubernetes stores it."""
    return f"{key.namespace}/{key.name}"


def check(asking: Asking, *, watching: bool) -> None:
    """Refuse what does not go together. Raises Invalid, BadRequest."""
    causes = [*(_of_watch(asking) if watching else _of_list(asking))]
    if causes:
        raise answers.invalid(_OPTIONS, "", causes)
    if asking.token and asking.resource_version not in ("", "0"):
        raise BadRequest("specifying resource version is not allowed when using continue")


def point(asking: Asking, latest: int) -> Point:
    """Where the list that is asked for begins. Raises BadRequest, TooNew."""
    if asking.token:
        return _read(asking.token)
    asked = number(asking.resource_version)
    if asked > latest:
        raise TooNew(asked, latest)
    exact = asking.match == EXACT or (asking.limit and not asking.match)
    return Point(asked if asked and exact else None)


def piece(records: Sequence[Record], at: Point, revision: int, limit: int) -> Piece:
    """Of all records in order, `limit` (0: all) from that point on."""
    begin = next((i for i, record in enumerate(records) if path(record.key) > at.after), len(records))
    end = begin + limit if limit else len(records)
    chosen, left = tuple(records[begin:end]), max(0, len(records) - end)
    return Piece(chosen, str(revision), token(revision, path(chosen[-1].key)) if left else "", left)


def token(revision: int, after: str) -> str:
    """The token for what follows `after` in the list of that revision."""
    return _encoded({"v": _VERSION, "rv": revision, "start": f"{after}\0"})


def fresh(after: str) -> str:
    """The token for what follows `after` whenever it is used."""
    return token(_LATEST, after)


def number(text: str) -> int:
    """A resourceVersion; none is 0. Raises BadRequest."""
    if text and not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise BadRequest(f'resourceVersion: Invalid value: "{text[:60]}": not a number')
    return int(text or 0)


def _of_list(asking: Asking) -> Iterator[Cause]:
    field = "resourceVersionMatch"
    if asking.initial is not None:
        yield _forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")
    if not asking.match:
        return
    if asking.token:
        yield _forbidden(field, f"{field} is forbidden when continue is provided")
    if not asking.resource_version:
        yield _forbidden(field, f"{field} is forbidden unless resourceVersion is provided")
    if asking.match not in (EXACT, NOT_OLDER):
        yield _unsupported(asking.match, EXACT, NOT_OLDER, "")
    if asking.match == EXACT and asking.resource_version == "0":
        yield _forbidden(field, f'{field} "{EXACT}" is forbidden for resourceVersion "0"')


def _of_watch(asking: Asking) -> Iterator[Cause]:
    field = "resourceVersionMatch"
    if asking.initial is None and asking.match:
        yield _forbidden(field, f"{field} is forbidden for watch unless sendInitialEvents is provided")
    if asking.initial is not None and not asking.match:
        yield _forbidden(field, f"sendInitialEvents requires setting {field} to {NOT_OLDER}")
    elif asking.match not in ("", NOT_OLDER):
        yield _unsupported(asking.match, NOT_OLDER)


def _forbidden(field: str, said: str) -> Cause:
    return Cause(f"Forbidden: {said}", field, "FieldValueForbidden")


def _unsupported(found: str, *known: str) -> Cause:
    options = ", ".join(f'"{one}"' for one in known)
    told = f'Unsupported value: "{found[:60]}": supported values: {options}'
    return Cause(told, "resourceVersionMatch", "FieldValueNotSupported")


def _encoded(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(content)).rstrip(b"=").decode()


def _read(token: str) -> Point:
    try:
        padded = token[:_LONGEST_TOKEN].rstrip("=").encode()
        found = orjson.loads(base64.b64decode(padded + b"=" * (-len(padded) % 4), b"-_", validate=True))
        version, revision, start = found["v"], found["rv"], found["start"]
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise BadRequest("continue key is not valid: it is not one that this server gave") from error
    if version != _VERSION or not isinstance(revision, int) or not isinstance(start, str) or revision == 0:
        raise BadRequest("continue key is not valid: incorrect encoded content or version")
    return Point(None if revision < 0 else revision, start.removesuffix("\0"))
