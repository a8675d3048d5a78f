"""The formats that a rule can ask for by name (`format.dns1123Label().validate(self)`). Pure.

https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-format-library
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from standalone.store import rules
from standalone.store.formats import FORMATS
from standalone.store.operators import Failed, Maybe

_LABEL, _OLD_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?", "[a-z]([-a-z0-9]*[a-z0-9])?"
_VALUE: Final = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_LONGEST: Final = 63
_SAID: Final = {
    _LABEL: "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
    "end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{}')",
    _OLD_LABEL: "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
    "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'{}')",
    _VALUE: "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
    "validation is '{}')",
}
"""What Kubernetes says of a text that does not match."""
_KIND: Final = "format"


def _matches(pattern: str, text: str) -> Iterator[str]:
    if len(text) > _LONGEST:
        yield (
            f"must be no more than {_LONGEST} characters"
            if pattern == _VALUE
            else (f"must be no more than {_LONGEST} bytes")
        )
    if not re.fullmatch(pattern, text):
        yield _SAID[pattern].format(pattern)


def _subdomain(text: str) -> Iterator[str]:
    for cause in rules.subdomain(text, ""):
        yield cause.message.partition('": ')[2]


def _known(name: str, said: str, text: str) -> Iterator[str]:
    if not FORMATS[name](text):
        yield said


def _prefix(check: Callable[[str], Iterator[str]]) -> Callable[[str], Iterator[str]]:
    """The same of the beginning of a name, which may end with a dash."""
    return lambda text: check(f"{text[:-1]}a" if text.endswith("-") else text)


_label, _old_label = partial(_matches, _LABEL), partial(_matches, _OLD_LABEL)
_CHECKS: Final[Mapping[str, Callable[[str], Iterator[str]]]] = {
    "dns1123Label": _label, "dns1123LabelPrefix": _prefix(_label),
    "dns1123Subdomain": _subdomain, "dns1123SubdomainPrefix": _prefix(_subdomain),
    "dns1035Label": _old_label, "dns1035LabelPrefix": _prefix(_old_label),
    "qualifiedName": rules.unqualified, "labelValue": partial(_matches, _VALUE),
    "uri": partial(_known, "uri", "invalid URI for request"),
    "uuid": partial(_known, "uuid", "does not match the UUID format"),
    "byte": partial(_known, "byte", "invalid base64"), "date": partial(_known, "date", "invalid date"),
    "datetime": partial(_known, "date-time", "invalid datetime"),
}  # fmt: skip


def _asked(name: str) -> dict[str, str]:
    return {_KIND: name}


def _named(name: str) -> Maybe:
    return Maybe(there=True, value=_asked(name)) if name in _CHECKS else Maybe()


def _validated(wanted: Any, text: str) -> Maybe:
    if not isinstance(wanted, dict) or _KIND not in wanted or not isinstance(text, str):
        raise Failed("no such overload")
    wrong = list(_CHECKS[wanted[_KIND]](text))
    return Maybe(there=True, value=wrong) if wrong else Maybe()


NAMED: Final[Mapping[str, Callable[..., Any]]] = {
    "format.named": _named, "validate": _validated,
    **{f"format.{name}": partial(_asked, name) for name in _CHECKS},
}  # fmt: skip
"""The functions of this library, by the name that an expression calls them by."""
