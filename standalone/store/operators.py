"""What every expression language of this family knows: operators, conversions, times. Pure.

https://github.com/google/cel-spec/blob/master/doc/langdef.md#standard-definitions
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

_LEAST, _MOST = -(2**63), 2**63 - 1
_DURATION: Final = re.compile(r"([-+]?)((?:\d+(?:\.\d*)?(?:h|ms|m|s|us|ns))+)", re.ASCII)
_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_OFFSET: Final = re.compile(r"([-+]?)(\d\d):(\d\d)", re.ASCII)
_EPOCH: Final = datetime.fromtimestamp(0, UTC)


class Failed(ValueError):
    """An expression that has no value; the message says why, as cel-go words it."""


@dataclass(frozen=True)
class Maybe:
    """A value that may not be there."""

    there: bool = False
    value: Any = None


@dataclass(frozen=True)
class Type:
    """The type of a value."""

    name: str


def type_of(value: Any) -> Type:
    """A value's type."""
    names = {bool: "bool", int: "int", float: "double", str: "string", bytes: "bytes", list: "list", dict: "map",
             datetime: "google.protobuf.Timestamp", timedelta: "google.protobuf.Duration",
             Maybe: "optional_type", Type: "type"}  # fmt: skip
    return Type(names.get(type(value), "null_type"))


def equal(one: Any, other: Any) -> bool:
    """Whether two values are the same; those of different types are not, but numbers."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return bool(one == other)


def _no_overload() -> Failed:
    return Failed("no such overload")


def _bounded(number: Any) -> Any:
    if isinstance(number, int) and not _LEAST <= number <= _MOST:
        raise Failed("integer overflow")
    return number


def _alike(one: Any, other: Any, *types: type) -> None:
    if type(one) is not type(other) or type(one) not in types:
        raise _no_overload()


def _add(one: Any, other: Any) -> Any:
    if {type(one), type(other)} != {datetime, timedelta}:
        _alike(one, other, int, float, str, bytes, list, timedelta)
    return _bounded(one + other)


def _subtract(one: Any, other: Any) -> Any:
    if (type(one), type(other)) != (datetime, timedelta):
        _alike(one, other, int, float, datetime, timedelta)
    return _bounded(one - other)


def _multiply(one: Any, other: Any) -> Any:
    _alike(one, other, int, float)
    return _bounded(one * other)


def _divide(one: Any, other: Any) -> Any:
    _alike(one, other, int, float)
    if isinstance(one, float):
        return one / other if other else one * float("inf")
    if other == 0:
        raise Failed("division by zero")
    return _bounded(abs(one) // abs(other) * (1 if (one < 0) == (other < 0) else -1))


def _remainder(one: Any, other: Any) -> Any:
    _alike(one, other, int)
    if other == 0:
        raise Failed("modulus by zero")
    return abs(one) % abs(other) * (1 if one >= 0 else -1)


def _negated(value: Any) -> Any:
    if type(value) not in (int, float):
        raise _no_overload()
    return _bounded(-value)


def _not(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _no_overload()
    return not value


def _ordered(holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compared(one: Any, other: Any) -> bool:
        if {type(one), type(other)} != {int, float}:
            _alike(one, other, int, float, str, bytes, bool, datetime, timedelta)
        return holds(one, other)

    return compared


def _in(one: Any, several: Any) -> bool:
    if isinstance(several, dict):
        return one in several
    if not isinstance(several, list):
        raise _no_overload()
    return any(equal(one, each) for each in several)


def _int(value: Any) -> int:
    if isinstance(value, datetime):
        return int(value.timestamp())
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _no_overload()
    if isinstance(value, str) and not re.fullmatch(r"[-+]?\d{1,19}", value, re.ASCII):
        raise Failed(f"type conversion error from 'string' to 'int': \"{value[:60]}\"")
    if isinstance(value, float) and not _LEAST < value < _MOST:
        raise Failed("integer overflow")
    return int(_bounded(int(value)))


def _double(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _no_overload()
    return float(value)


def _string(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return f"{_string(value.total_seconds())}s"
    if isinstance(value, bytes):
        return value.decode()
    if not isinstance(value, int | str):
        raise _no_overload()
    return str(value)


def _bool(value: Any) -> bool:
    known = {"true": True, "t": True, "1": True, "True": True, "TRUE": True,
             "false": False, "f": False, "0": False, "False": False, "FALSE": False}  # fmt: skip
    return value if isinstance(value, bool) else known[value]


def timestamp(value: Any) -> datetime:
    """A moment: of RFC 3339, or of seconds since 1970."""
    if isinstance(value, int):
        return _EPOCH + timedelta(seconds=value)
    found = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def duration(value: Any) -> timedelta:
    """A length of time, as Go writes it: `1h30m`."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value)
    if not match and value != "0":
        raise Failed(f"type conversion error from 'string' to 'google.protobuf.Duration': \"{value[:60]}\"")
    parts = re.findall(r"([\d.]+)([a-z]+)", match[2]) if match else ()
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return timedelta(seconds=-seconds if match and match[1] == "-" else seconds)


def _zone(name: str) -> tzinfo:
    match = _OFFSET.fullmatch(name)
    if not match:
        return ZoneInfo(name)
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return timezone(-offset if match[1] == "-" else offset)


def _of_time(at: Callable[[datetime], int], seconds: float = 0) -> Callable[..., int]:
    """A part of a moment; of a length of time, how often so many seconds fit in."""

    def part(value: Any, zone: str = "UTC") -> int:
        if isinstance(value, timedelta) and seconds:
            return int(value.total_seconds() / seconds)
        if not isinstance(value, datetime):
            raise _no_overload()
        return at(value.astimezone(_zone(zone)))

    return part


def _text(test: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    def tested(one: Any, other: Any) -> bool:
        _alike(one, other, str)
        return test(one, other)

    return tested


TYPES: Final[Mapping[str, Type]] = {
    name: Type(name)
    for name in ("bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type")
}
STANDARD: Final[Mapping[str, Callable[..., Any]]] = {
    "_+_": _add, "_-_": _subtract, "_*_": _multiply, "_/_": _divide, "_%_": _remainder, "-_": _negated, "!_": _not,
    "_==_": equal, "_!=_": lambda one, other: not equal(one, other), "_in_": _in,
    "_<_": _ordered(lambda one, other: bool(one < other)), "_<=_": _ordered(lambda one, other: bool(one <= other)),
    "_>_": _ordered(lambda one, other: bool(one > other)), "_>=_": _ordered(lambda one, other: bool(one >= other)),
    "size": len, "int": _int, "uint": _int, "double": _double, "string": _string, "bool": _bool,
    "bytes": lambda value: value.encode() if isinstance(value, str) else bytes(value), "dyn": lambda value: value,
    "type": type_of, "timestamp": timestamp, "duration": duration,
    "contains": _text(lambda text, part: part in text), "startsWith": _text(str.startswith),
    "endsWith": _text(str.endswith), "matches": _text(lambda text, pattern: bool(re.search(pattern, text))),
    "getFullYear": _of_time(lambda at: at.year), "getMonth": _of_time(lambda at: at.month - 1),
    "getDate": _of_time(lambda at: at.day), "getDayOfMonth": _of_time(lambda at: at.day - 1),
    "getDayOfWeek": _of_time(lambda at: at.isoweekday() % 7),
    "getDayOfYear": _of_time(lambda at: at.timetuple().tm_yday - 1), "getHours": _of_time(lambda at: at.hour, 3600),
    "getMinutes": _of_time(lambda at: at.minute, 60), "getSeconds": _of_time(lambda at: at.second, 1),
    "getMilliseconds": _of_time(lambda at: at.microsecond // 1000, 0.001),
    "optional.of": lambda value: Maybe(there=True, value=value), "optional.none": Maybe,
    "optional.ofNonZeroValue": lambda value: Maybe(there=True, value=value) if value else Maybe(),
    "hasValue": lambda maybe: maybe.there,
}  # fmt: skip
"""By the name that an expression calls them by; a method's first argument is what stands before it."""
