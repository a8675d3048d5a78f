"""Objects in protobuf, as Go's typed clients send them."""

import base64

import pytest

from diskyard.errors import BadRequest
from standalone.wire import protobuf


def number(value: int) -> bytes:
    found = b""
    while value > 0x7F:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


def part(field: int, content: bytes | str | int) -> bytes:
    if isinstance(content, int):
        return number(field << 3) + number(content)
    raw = content.encode() if isinstance(content, str) else content
    return number(field << 3 | 2) + number(len(raw)) + raw


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    return b"k8s\0" + part(1, part(1, api_version) + part(2, kind)) + part(2, raw) + part(3, "") + part(4, "")


def entry(field: int, name: str, value: bytes) -> bytes:
    return part(field, part(1, name) + part(2, value))


METADATA = part(1, part(1, "one") + part(2, "") + part(3, "place") + part(8, b"") + entry(11, "a", b"b"))
IDENTITY = {"name": "one", "namespace": "place", "labels": {"a": "b"}}


def test_a_secrets_bytes_come_as_base64() -> None:
    raw = envelope("v1", "Secret", METADATA + entry(2, "user", b"\xff\0") + part(3, "Opaque"))

    assert protobuf.obj(raw) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": IDENTITY,
        "data": {"user": base64.b64encode(b"\xff\0").decode()},
        "type": "Opaque",
    }


def test_a_quota_keeps_its_limits() -> None:
    spec = part(1, part(1, "pods") + part(2, part(1, "3")))

    found = protobuf.obj(envelope("v1", "ResourceQuota", METADATA + part(2, spec)))

    assert found["spec"] == {"hard": {"pods": "3"}}


def test_a_claim_keeps_its_quantities() -> None:
    room = part(2, part(1, "storage") + part(2, part(1, "10Gi")))
    spec = part(1, "ReadWriteOnce") + part(2, room) + part(5, "local")

    found = protobuf.obj(envelope("v1", "PersistentVolumeClaim", METADATA + part(2, spec) + part(3, b"")))

    assert found["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "10Gi"}},
        "storageClassName": "local",
    }


def test_a_grace_of_zero_is_kept() -> None:
    found = protobuf.obj(envelope("v1", "DeleteOptions", part(1, 0) + part(4, "Background")))

    assert found["gracePeriodSeconds"] == 0
    assert found["propagationPolicy"] == "Background"


def test_a_port_by_name_and_one_by_number() -> None:
    ports = [
        part(3, 80) + part(4, part(1, 0) + part(2, 8080)),
        part(3, 81) + part(4, part(1, 1) + part(3, "web")),
    ]

    found = protobuf.obj(
        envelope("v1", "Service", METADATA + part(2, b"".join(part(1, port) for port in ports)))
    )

    assert [port["targetPort"] for port in found["spec"]["ports"]] == [8080, "web"]


def test_a_time_has_its_fraction() -> None:
    spec = part(1, "holder") + part(2, 15) + part(4, part(1, 1763726400) + part(2, 5000))

    found = protobuf.obj(envelope("coordination.k8s.io/v1", "Lease", METADATA + part(2, spec)))

    assert found["spec"] == {
        "holderIdentity": "holder",
        "leaseDurationSeconds": 15,
        "renewTime": "2025-11-21T12:00:00.000005Z",
    }


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"{}", "does not begin with"),
        (envelope("v1", "Pod", b""), "Pod is not read .* send application/json"),
        (b"k8s\0" + b"\x0a\x7f", "longer than its message"),
        (b"k8s\0" + b"\x80" * 20, "more than 64 bits"),
        (b"k8s\0" + b"\x0b", "longer than its message"),
        (envelope("v1", "Secret", part(1, 5)), "a number stands where bytes"),
        (envelope("v1", "Lease", part(2, part(2, b"x"))), "bytes stand where a number"),
        (envelope("v1", "Lease", part(2, part(4, part(1, 1 << 62)))), "is not application/vnd"),
        (envelope("v1", "Secret", b"\x0a"), "is not application/vnd"),
    ],
)
def test_bytes_that_are_none_of_that_are_refused(raw: bytes, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        protobuf.obj(raw)
