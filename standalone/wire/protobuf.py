"""Objects in protobuf, which Go's typed clients send for core kinds (`kubectl create namespace`), as dicts. Pure.

The envelope is `k8s\\0` and a `runtime.Unknown`. Only what those clients create is read: the messages below, whose
numbers are those of Kubernetes' `generated.proto` files. A zero value and a missing one are the same there.
"""

import base64
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from diskyard.api.meta import Obj
from diskyard.errors import BadRequest

MEDIA_TYPE: Final = "application/vnd.kubernetes.protobuf"
_MAGIC: Final = b"k8s\0"

Wire = int | bytes
Read = Callable[[Wire], Any]
Fields = Mapping[int, tuple[str, Read, str]]
"""Number -> name, how to read one value, and `` (one), `[]` (a list) or `{}` (a map)."""


def obj(raw: bytes) -> Obj:
    """The object in an envelope. Raises BadRequest."""
    if not raw.startswith(_MAGIC):
        raise BadRequest(
            f"the body of the request is not {MEDIA_TYPE}: it does not begin with k8s and a zero byte"
        )
    try:
        unknown = _message(raw[len(_MAGIC) :], _UNKNOWN)
        identity = unknown.get("typeMeta", {})
        kind = str(identity.get("kind", ""))
        fields = KINDS.get(kind)
        if fields is None:
            raise BadRequest(
                f"{kind or 'this kind'} is not read from {MEDIA_TYPE} here; send application/json"
            )
        return {**identity, **_message(unknown.get("raw", b""), fields)}
    except (IndexError, ValueError, TypeError, OverflowError, OSError) as error:
        raise BadRequest(f"the body of the request is not {MEDIA_TYPE}: {error}") from error


def _pairs(raw: bytes) -> Iterator[tuple[int, Wire]]:
    """Field numbers and values, in the order in which they were written."""
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        number, form = tag >> 3, tag & 7
        if form == 0:
            value, at = _varint(raw, at)
            yield number, value
            continue
        if form == 2:
            size, at = _varint(raw, at)
        else:
            size = {1: 8, 5: 4}[form] if form in (1, 5) else len(raw) + 1
        if at + size > len(raw):
            raise ValueError("a field is longer than its message")
        yield number, raw[at : at + size]
        at += size


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number has more than 64 bits")


def _message(raw: Wire, fields: Fields) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, wire in _pairs(_bytes(raw)):
        if number not in fields:
            continue
        name, read, many = fields[number]
        if many == "{}":
            entry = dict(_pairs(_bytes(wire)))
            found.setdefault(name, {})[_text(entry.get(1, b""))] = read(entry.get(2, b""))
        elif many == "[]":
            found.setdefault(name, []).append(read(wire))
        else:
            found[name] = read(wire)
    return {name: value for name, value in found.items() if value not in ("", None)}


def _bytes(wire: Wire) -> bytes:
    if not isinstance(wire, bytes):
        raise TypeError("a number stands where bytes are expected")
    return wire


def _text(wire: Wire) -> str:
    return _bytes(wire).decode()


def _blob(wire: Wire) -> str:
    return base64.b64encode(_bytes(wire)).decode()


def _number(wire: Wire) -> int:
    if not isinstance(wire, int):
        raise TypeError("bytes stand where a number is expected")
    return wire - (1 << 64) if wire >> 63 else wire


def _count(wire: Wire) -> int | None:
    """A number whose zero means that none was given."""
    return _number(wire) or None


def _truth(wire: Wire) -> bool:
    return _number(wire) != 0


def _yes(wire: Wire) -> bool | None:
    """A truth whose opposite means that none was given."""
    return _truth(wire) or None


def _time(wire: Wire) -> str | None:
    parts = dict(_pairs(_bytes(wire)))
    seconds = _number(parts.get(1, 0))
    if not seconds:
        return None
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    nanos = _number(parts.get(2, 0))
    return f"{whole}.{nanos // 1000:06d}Z" if nanos else f"{whole}Z"


def _quantity(wire: Wire) -> str:
    return _text(dict(_pairs(_bytes(wire))).get(1, b""))


def _int_or_text(wire: Wire) -> int | str:
    parts = dict(_pairs(_bytes(wire)))
    return _text(parts.get(3, b"")) if parts.get(1) else _number(parts.get(2, 0))


def _words(wire: Wire) -> list[str]:
    return list(_message(wire, _WORDS).get("items", ()))


def _of(fields: Fields) -> Read:
    return lambda wire: _message(wire, fields)


def _fields(**numbered: tuple[int, Read] | tuple[int, Read, str]) -> Fields:
    return {
        field[0]: (name, field[1], field[2] if len(field) > 2 else "") for name, field in numbered.items()
    }


_IDENTITY = _fields(apiVersion=(1, _text), kind=(2, _text))
_UNKNOWN = _fields(typeMeta=(1, _of(_IDENTITY)), raw=(2, _bytes))
_OWNER = _fields(
    kind=(1, _text), name=(3, _text), uid=(4, _text), apiVersion=(5, _text), controller=(6, _truth),
    blockOwnerDeletion=(7, _truth),
)  # fmt: skip
_METADATA = _fields(
    name=(1, _text), generateName=(2, _text), namespace=(3, _text), uid=(5, _text), resourceVersion=(6, _text),
    creationTimestamp=(8, _time), labels=(11, _text, "{}"), annotations=(12, _text, "{}"),
    ownerReferences=(13, _of(_OWNER), "[]"), finalizers=(14, _text, "[]"),
)  # fmt: skip
_META = (1, _of(_METADATA))
_REFERENCE = _fields(
    kind=(1, _text), namespace=(2, _text), name=(3, _text), uid=(4, _text), apiVersion=(5, _text),
    resourceVersion=(6, _text), fieldPath=(7, _text),
)  # fmt: skip
_REQUIREMENT = _fields(key=(1, _text), operator=(2, _text), values=(3, _text, "[]"))
_SELECTOR = _fields(matchLabels=(1, _text, "{}"), matchExpressions=(2, _of(_REQUIREMENT), "[]"))
_FILLER = _fields(apiGroup=(1, _text), kind=(2, _text), name=(3, _text), namespace=(4, _text))
_ROOM = _fields(limits=(1, _quantity, "{}"), requests=(2, _quantity, "{}"))
_CLAIM = _fields(
    accessModes=(1, _text, "[]"), resources=(2, _of(_ROOM)), volumeName=(3, _text), selector=(4, _of(_SELECTOR)),
    storageClassName=(5, _text), volumeMode=(6, _text), dataSource=(7, _of(_FILLER)),
    dataSourceRef=(8, _of(_FILLER)), volumeAttributesClassName=(9, _text),
)  # fmt: skip
_PORT = _fields(
    name=(1, _text), protocol=(2, _text), port=(3, _number), targetPort=(4, _int_or_text), nodePort=(5, _count),
    appProtocol=(6, _text),
)  # fmt: skip
_SERVICE = _fields(
    ports=(1, _of(_PORT), "[]"), selector=(2, _text, "{}"), clusterIP=(3, _text), type=(4, _text),
    externalIPs=(5, _text, "[]"), sessionAffinity=(7, _text), externalName=(10, _text),
    publishNotReadyAddresses=(13, _yes),
)  # fmt: skip
_SOURCE = _fields(component=(1, _text), host=(2, _text))
_LEASE = _fields(
    holderIdentity=(1, _text), leaseDurationSeconds=(2, _number), acquireTime=(3, _time), renewTime=(4, _time),
    leaseTransitions=(5, _number),
)  # fmt: skip
_RESOURCE = _fields(
    namespace=(1, _text), verb=(2, _text), group=(3, _text), version=(4, _text), resource=(5, _text),
    subresource=(6, _text), name=(7, _text),
)  # fmt: skip
_ACCESS = _fields(
    resourceAttributes=(1, _of(_RESOURCE)),
    nonResourceAttributes=(2, _of(_fields(path=(1, _text), verb=(2, _text)))),
)
_POLICY_RULE = _fields(
    verbs=(1, _text, "[]"), apiGroups=(2, _text, "[]"), resources=(3, _text, "[]"), resourceNames=(4, _text, "[]"),
    nonResourceURLs=(5, _text, "[]"),
)  # fmt: skip
_ROLE = _fields(
    metadata=_META, rules=(2, _of(_POLICY_RULE), "[]"),
    aggregationRule=(3, _of(_fields(clusterRoleSelectors=(1, _of(_SELECTOR), "[]")))),
)  # fmt: skip
_SUBJECT = _fields(kind=(1, _text), apiGroup=(2, _text), name=(3, _text), namespace=(4, _text))
_BINDING = _fields(
    metadata=_META, subjects=(2, _of(_SUBJECT), "[]"),
    roleRef=(3, _of(_fields(apiGroup=(1, _text), kind=(2, _text), name=(3, _text)))),
)  # fmt: skip
_WORDS = _fields(items=(1, _text, "[]"))
_ACCESS_OF = {
    **_ACCESS, **_fields(user=(3, _text), groups=(4, _text, "[]"), extra=(5, _words, "{}"), uid=(6, _text)),
}  # fmt: skip
_BOUND = _fields(kind=(1, _text), apiVersion=(2, _text), name=(3, _text), uid=(4, _text))
_TOKEN = _fields(audiences=(1, _text, "[]"), boundObjectRef=(3, _of(_BOUND)), expirationSeconds=(4, _number))
_QUOTA = _fields(
    hard=(1, _quantity, "{}"),
    scopes=(2, _text, "[]"),
    scopeSelector=(3, _of(_fields(expressions=(1, _of({}), "[]")))),
)
_HELD = _fields(uid=(1, _text), resourceVersion=(2, _text))
_NAME = _of(_fields(name=(1, _text)))

KINDS: Final[Mapping[str, Fields]] = {
    "Namespace": _fields(metadata=_META, spec=(2, _of(_fields(finalizers=(1, _text, "[]"))))),
    "ConfigMap": _fields(
        metadata=_META, data=(2, _text, "{}"), binaryData=(3, _blob, "{}"), immutable=(4, _truth)
    ),
    "Secret": _fields(
        metadata=_META, data=(2, _blob, "{}"), type=(3, _text), stringData=(4, _text, "{}"), immutable=(5, _truth)
    ),
    "ServiceAccount": _fields(
        metadata=_META, secrets=(2, _of(_REFERENCE), "[]"), imagePullSecrets=(3, _NAME, "[]"),
        automountServiceAccountToken=(4, _truth),
    ),
    "Service": _fields(metadata=_META, spec=(2, _of(_SERVICE))),
    "ResourceQuota": _fields(metadata=_META, spec=(2, _of(_QUOTA))),
    "PersistentVolumeClaim": _fields(metadata=_META, spec=(2, _of(_CLAIM))),
    "Event": _fields(
        metadata=_META, involvedObject=(2, _of(_REFERENCE)), reason=(3, _text), message=(4, _text),
        source=(5, _of(_SOURCE)), firstTimestamp=(6, _time), lastTimestamp=(7, _time), count=(8, _count),
        type=(9, _text), eventTime=(10, _time), action=(12, _text), reportingComponent=(14, _text),
        reportingInstance=(15, _text),
    ),
    "Lease": _fields(metadata=_META, spec=(2, _of(_LEASE))),
    "SelfSubjectAccessReview": _fields(metadata=_META, spec=(2, _of(_ACCESS))),
    "SelfSubjectRulesReview": _fields(metadata=_META, spec=(2, _of(_fields(namespace=(1, _text))))),
    **dict.fromkeys(("Role", "ClusterRole"), _ROLE),
    **dict.fromkeys(("RoleBinding", "ClusterRoleBinding"), _BINDING),
    **dict.fromkeys(
        ("SubjectAccessReview", "LocalSubjectAccessReview"), _fields(metadata=_META, spec=(2, _of(_ACCESS_OF)))
    ),
    "TokenReview": _fields(metadata=_META, spec=(2, _of(_fields(token=(1, _text), audiences=(2, _text, "[]"))))),
    "TokenRequest": _fields(metadata=_META, spec=(2, _of(_TOKEN))),
    "SelfSubjectReview": _fields(metadata=_META),
    "DeleteOptions": _fields(
        gracePeriodSeconds=(1, _number), preconditions=(2, _of(_HELD)), orphanDependents=(3, _truth),
        propagationPolicy=(4, _text), dryRun=(5, _text, "[]"),
    ),
}  # fmt: skip
"""What is read, by kind."""
