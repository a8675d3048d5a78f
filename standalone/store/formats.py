"""The formats that a schema can ask of a string: for each, whether a text has it. Pure.

Those that Kubernetes checks (`k8s.io/kube-openapi/pkg/validation/strfmt`); any other is a remark for people.
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_UUID: Final = "[0-9a-f]{{8}}-?[0-9a-f]{{4}}-?{version}[0-9a-f]{{3}}-?{variant}[0-9a-f]{{3}}-?[0-9a-f]{{12}}"
_LABEL: Final = "[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?"


def _is(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda text: compiled.fullmatch(text) is not None


def _reads(read: Callable[[str], Any], text: str) -> bool:
    try:
        read(text)
    except (ValueError, binascii.Error):
        return False
    return True


def _moment(text: str) -> bool:
    return bool(_TIME.fullmatch(text)) and _reads(datetime.fromisoformat, text.upper().replace(" ", "T"))


def _uri(text: str) -> bool:
    return _reads(urlsplit, text) and bool(urlsplit(text).scheme or text.startswith("/"))


FORMATS: Final[Mapping[str, Callable[[str], bool]]] = {
    "date-time": _moment,
    "datetime": _moment,
    "date": partial(_reads, date.fromisoformat),
    "duration": _is(r"[-+]?(\d+(\.\d*)?(ns|us|µs|ms|s|m|h|d|w))+|0"),
    "byte": partial(_reads, partial(base64.b64decode, validate=True)),
    "ipv4": partial(_reads, ipaddress.IPv4Address),
    "ipv6": partial(_reads, ipaddress.IPv6Address),
    "cidr": lambda text: "/" in text and _reads(partial(ipaddress.ip_network, strict=False), text),
    "mac": _is("([0-9A-Fa-f]{2}[:-]){5}([0-9A-Fa-f]{2})"),
    "uri": _uri,
    "hostname": _is(rf"{_LABEL}(\.{_LABEL})*\.?"),
    "email": _is(r"[^@\s]+@[^@\s]+"),
    "uuid": _is(f"(?i:{_UUID.format(version='[0-9a-f]', variant='[0-9a-f]')})"),
    "uuid3": _is(f"(?i:{_UUID.format(version='3', variant='[0-9a-f]')})"),
    "uuid4": _is(f"(?i:{_UUID.format(version='4', variant='[89ab]')})"),
    "uuid5": _is(f"(?i:{_UUID.format(version='5', variant='[89ab]')})"),
}
