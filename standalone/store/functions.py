"""The functions that Kubernetes adds to CEL: strings, lists, sets, patterns, URLs, addresses, quantities. Pure.

https://kubernetes.io/docs/reference/using-api/cel/#cel-options-language-features-and-libraries
A URL, an address, a network, a quantity and a version are maps that say what they are. What cannot be read raises
ValueError: the rule that it stands in is then broken, as on a cluster.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from ipaddress import ip_address, ip_network
from itertools import pairwise
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from diskyard.api import quantity
from diskyard.errors import InvalidRequest

Value = dict[str, Any]
_IS: Final = "is a"
_SEMVER: Final = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([\w.-]+))?(?:\+[\w.-]+)?", re.ASCII
)


def _kind(value: Any) -> str:
    return str(value.get(_IS, "")) if isinstance(value, dict) else ""


def _sorted(items: list[Any]) -> bool:
    return all(one <= other for one, other in pairwise(items))


def _index(target: Any, wanted: Any, start: int = 0) -> int:
    if isinstance(target, str):
        return target.find(wanted, start)
    return next((i for i, one in enumerate(target) if one == wanted), -1)


def _last(target: Any, wanted: Any) -> int:
    if isinstance(target, str):
        return target.rfind(wanted)
    return next((i for i in reversed(range(len(target))) if target[i] == wanted), -1)


def _char(text: str, at: int) -> str:
    if not 0 <= at <= len(text):
        raise ValueError(f"index out of range: {at}")
    return text[at : at + 1]


def _substring(text: str, start: int, end: int | None = None) -> str:
    end = len(text) if end is None else end
    if not 0 <= start <= end <= len(text):
        raise ValueError(f"invalid substring range. start: {start}, end: {end}")
    return text[start:end]


def _replace(text: str, old: str, new: str, most: int = -1) -> str:
    return text.replace(old, new, most)


def _split(text: str, by: str, most: int = -1) -> list[str]:
    parts = text.split(by) if by else list(text)
    return (
        parts if most < 0 or len(parts) <= most else [*parts[: most - 1], by.join(parts[most - 1 :])][:most]
    )


def _format(target: Any, values: list[Any]) -> str:
    found = iter(values)
    return re.sub(r"%(\.\d{1,3})?([sdfexXob%])", lambda match: _shown(match, found), str(target))


def _shown(match: "re.Match[str]", values: Any) -> str:
    if match[2] == "%":
        return "%"
    value = next(values)
    if match[2] in "sd":
        return str(value).lower() if isinstance(value, bool) else str(value)
    return format(value, f"{match[1] or ''}{match[2]}")


def _find(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    return found[0] if found else ""


def _find_all(text: str, pattern: str, most: int = -1) -> list[str]:
    found = [match[0] for match in re.finditer(pattern, text)]
    return found if most < 0 else found[:most]


def _all_in(several: list[Any], wanted: list[Any]) -> bool:
    return all(one in several for one in wanted)


def _url(text: str) -> Value:
    parts = urlsplit(text)
    if not (parts.scheme or text.startswith("/")):
        raise ValueError(f"URL parse error during conversion from string: {text[:100]}")
    return {_IS: "url", "text": text}


def _part(read: Callable[[Any], Any]) -> Callable[[Value], Any]:
    return lambda url: read(urlsplit(url["text"])) or ""


def _ip(target: Any) -> Value:
    if _kind(target) == "cidr":
        return {_IS: "ip", "text": target["text"].partition("/")[0]}
    if "%" in target:
        raise ValueError(f"IP Address {target[:100]!r} with zone value is not allowed")
    return {_IS: "ip", "text": str(ip_address(target))}


def _cidr(text: str) -> Value:
    if "/" not in text:
        raise ValueError(f"network address parse error during conversion from string: {text[:100]}")
    ip_network(text, strict=False)
    return {_IS: "cidr", "text": text}


def _net(value: Any) -> Any:
    return ip_network(value if isinstance(value, str) else value["text"], strict=False)


def _address(value: Any) -> Any:
    return ip_address(value if isinstance(value, str) else value["text"])


def _within(network: Value, other: Any) -> bool:
    inner, outer = _net(other), _net(network)
    return bool(inner.version == outer.version and inner.subnet_of(outer))


def _of_address(name: str) -> Callable[[Value], bool]:
    return lambda value: bool(getattr(_address(value), name))


def _quantity(text: str) -> Value:
    try:
        return {_IS: "quantity", "value": str(quantity.value(text).normalize())}
    except InvalidRequest as error:
        raise ValueError(str(error)) from error


def _semver(text: str) -> Value:
    match = _SEMVER.fullmatch(text)
    if match is None:
        raise ValueError(f"semver parse error: {text[:100]}")
    return {_IS: "semver", "numbers": [int(one) for one in match.groups()[:3]], "before": match[4] or ""}


def _amount(value: Any) -> Any:
    """What values of one kind are compared by."""
    if _kind(value) == "semver":
        return (*value["numbers"], value["before"] == "", value["before"])
    return Decimal(value["value"]) if _kind(value) == "quantity" else Decimal(value)


def _compared(one: Any, other: Any) -> int:
    left, right = _amount(one), _amount(other)
    return int(left > right) - int(left < right)


def _summed(one: Value, other: Any, sign: int = 1) -> Value:
    return {_IS: "quantity", "value": str((_amount(one) + sign * _amount(other)).normalize())}


def _whole(value: Value) -> int:
    number = _amount(value)
    if number != number.to_integral_value():
        raise ValueError("cannot convert value to integer")
    return int(number)


def _reads(read: Callable[[Any], Any]) -> Callable[[Any], bool]:
    def readable(text: Any) -> bool:
        try:
            read(text)
        except ValueError:
            return False
        return True

    return readable


FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "charAt": _char, "indexOf": _index, "lastIndexOf": _last, "lowerAscii": str.lower, "upperAscii": str.upper,
    "trim": str.strip, "substring": _substring, "replace": _replace, "split": _split, "format": _format,
    "join": lambda items, by="": by.join(items), "strings.quote": lambda text: f'"{text}"',
    "isSorted": _sorted, "sum": sum, "min": min, "max": max,
    "find": _find, "findAll": _find_all,
    "sets.contains": _all_in, "sets.intersects": lambda a, b: any(one in a for one in b),
    "sets.equivalent": lambda a, b: _all_in(a, b) and _all_in(b, a),
    "url": _url, "isURL": _reads(_url), "getScheme": _part(lambda url: url.scheme),
    "getHost": _part(lambda url: url.netloc.rpartition("@")[2]), "getHostname": _part(lambda url: url.hostname),
    "getPort": _part(lambda url: url.port and str(url.port)), "getEscapedPath": _part(lambda url: url.path),
    "getQuery": lambda url: parse_qs(urlsplit(url["text"]).query, keep_blank_values=True),
    "ip": _ip, "isIP": _reads(_ip), "family": lambda value: _address(value).version,
    "ip.isCanonical": lambda text: str(ip_address(text)) == text, "isLoopback": _of_address("is_loopback"),
    "isUnspecified": _of_address("is_unspecified"), "isLinkLocalUnicast": _of_address("is_link_local"),
    "isGlobalUnicast": lambda value: not any(
        getattr(_address(value), name) for name in ("is_multicast", "is_loopback", "is_unspecified", "is_link_local")
    ),
    "cidr": _cidr, "isCIDR": _reads(_cidr), "containsCIDR": _within, "prefixLength": lambda net: _net(net).prefixlen,
    "containsIP": lambda net, other: _address(other) in _net(net),
    "masked": lambda net: {_IS: "cidr", "text": str(_net(net))},
    "quantity": _quantity, "isQuantity": _reads(_quantity), "compareTo": _compared,
    "isGreaterThan": lambda one, other: _compared(one, other) > 0, "asInteger": _whole,
    "isLessThan": lambda one, other: _compared(one, other) < 0, "isInteger": _reads(_whole),
    "sign": lambda one: _compared(one, 0), "asApproximateFloat": lambda one: float(_amount(one)),
    "add": _summed, "sub": partial(_summed, sign=-1),
    "semver": _semver, "isSemver": _reads(_semver), "major": lambda one: one["numbers"][0],
    "minor": lambda one: one["numbers"][1], "patch": lambda one: one["numbers"][2],
}  # fmt: skip
"""By the name that an expression calls them by; a method's first argument is what stands before it."""
