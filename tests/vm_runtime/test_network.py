"""What a pod's network becomes for its guest: plans, rules, and what DHCP answers."""

import struct
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskyard.api.instance import Instance
from diskyard.errors import Refused
from tests.vm_runtime.test_domain import with_devices
from vm_runtime.network import dhcp
from vm_runtime.network.dhcp import ACK, DISCOVER, INFORM, NAK, OFFER, REQUEST
from vm_runtime.network.plan import Connection, Lease, Plan, plan
from vm_runtime.network.rules import rules

MAC = "02:aa:00:00:00:01"
CONNECTION = Connection(
    "dy-abcde-12345678",
    IPv4Interface("10.64.4.7/22"),
    IPv4Address("10.64.4.1"),
    "02:00:00:00:00:09",
    1400,
    ("10.0.0.53", "10.0.0.54", "10.0.0.55", "10.0.0.56"),
    ("example.test",),
)
LEASE = Lease(
    MAC, "10.0.2.2/24", "10.0.2.1", "10.0.2.1", 1400, "vm", ("10.0.0.53",), ("example.test", "test")
)


def guest(**interface: Any) -> Instance:
    card = {"name": "default", "macAddress": MAC, **interface}
    return with_devices(interfaces=[card])


def planned(connection: Connection = CONNECTION, **interface: Any) -> Plan:
    instance = guest(**(interface or {"masquerade": {}}))
    return plan(instance, instance.interfaces[0], connection)


def asked(kind: int, mac: str = MAC, ciaddr: str = "0.0.0.0", **options: bytes) -> bytes:
    """A client's packet; options are given as `_50=b"..."`."""
    header = struct.pack(
        "!BBBBIHH4s4s4s4s16s64s128s", 1, 1, 6, 0, 0xCAFE, 0, 0, IPv4Address(ciaddr).packed, bytes(4), bytes(4),
        bytes(4), bytes.fromhex(mac.replace(":", "")), b"", b"",
    )  # fmt: skip
    said = {"_53": bytes((kind,)), **options}
    return header + b"\x63\x82\x53\x63" + b"".join(
        bytes((int(name[1:]), len(value))) + value for name, value in said.items()
    ) + b"\xff"  # fmt: skip


Told = tuple[str, dict[int, bytes]]
"""(the address, the options) of an answer."""


def told(packet: bytes, lease: Lease = LEASE) -> Told:
    """The answer, which there has to be."""
    found = answered(packet, lease)
    assert found
    return found


def answered(packet: bytes, lease: Lease = LEASE) -> Told | None:
    """The answer, if there is one."""
    question = dhcp.question(packet)
    answer = dhcp.answer(question, lease) if question else None
    if answer is None:
        return None
    assert answer[:1] == b"\x02"
    assert answer[4:8] == bytes.fromhex("0000cafe")
    assert len(answer) >= 300
    found: dict[int, bytes] = {}
    at = 240
    while answer[at] != 255:
        found[answer[at]] = answer[at + 2 : at + 2 + answer[at + 1]]
        at += 2 + answer[at + 1]
    return str(IPv4Address(answer[16:20])), found


def test_a_masqueraded_guest_is_behind_its_pod() -> None:
    found = planned()

    assert (str(found.guest), str(found.gateway)) == ("10.0.2.2/24", "10.0.2.1/24")
    assert found.lease == Lease(
        MAC, "10.0.2.2/24", "10.0.2.1", "10.0.2.1", 1400, "vm", ("10.0.0.53", "10.0.0.54", "10.0.0.55"),
        ("example.test",),
    )  # fmt: skip


def test_a_bridged_guest_has_its_pods_address() -> None:
    found = planned(bridge={})

    assert (str(found.guest), found.lease.address) == ("10.64.4.7/22", "10.64.4.7/22")
    assert (found.lease.gateway, found.lease.server) == ("10.64.4.1", "169.254.75.10")


def test_networks_that_overlap_are_named() -> None:
    instance = with_devices(interfaces=[{"name": "default", "masquerade": {}}])
    connection = Connection(
        "ns", IPv4Interface("10.0.2.9/22"), IPv4Address("10.0.0.1"), "02:00:00:00:00:09", 1500
    )

    with pytest.raises(Refused, match=r"vmNetworkCIDR 10\.0\.2\.0/24 overlaps 10\.0\.0\.0/22"):
        plan(instance, instance.interfaces[0], connection)


def test_all_that_comes_to_the_pod_reaches_its_guest() -> None:
    text = rules(planned())

    assert 'iifname "eth0" counter jump KUBEVIRT_PREINBOUND' in text
    assert "    counter dnat to 10.0.2.2\n" in text
    assert "ip saddr 10.0.2.2 counter masquerade" in text


def test_where_ports_are_said_only_they_reach_it() -> None:
    text = rules(planned(masquerade={}, ports=[{"port": 80}, {"port": 53, "protocol": "UDP"}]))

    assert "    tcp dport 80 counter dnat to 10.0.2.2\n    udp dport 53 counter dnat to 10.0.2.2\n" in text
    assert "    counter dnat" not in text


def test_a_bridged_guest_speaks_for_itself_alone() -> None:
    text = rules(planned(bridge={}))

    assert f'iifname "tap0" ether saddr != {MAC} drop' in text
    assert 'iifname "tap0" ether type arp arp saddr ip != 10.64.4.7 drop' in text
    assert "udp dport { 67, 68 } drop" in text


def test_a_lease_survives_the_way_to_the_launcher() -> None:
    lease = planned(
        masquerade={},
        dhcpOptions={
            "bootFileName": "b", "tftpServerName": "t", "ntpServers": ["10.0.0.1"],
            "privateOptions": [{"option": 240, "value": "x"}],
        },
    ).lease  # fmt: skip

    assert Lease.from_text(lease.to_text()) == lease
    assert lease.private == ((240, "x"),)


def test_a_guest_is_offered_its_one_address_with_all_it_needs() -> None:
    address, options = told(asked(DISCOVER))

    assert address == "10.0.2.2"
    assert options[53] == bytes((OFFER,))
    assert options[1] == bytes((255, 255, 255, 0))
    assert options[3] == options[54] == bytes((10, 0, 2, 1))
    assert options[121] == bytes((0, 10, 0, 2, 1))
    assert options[6] == bytes((10, 0, 0, 53))
    assert options[12] == b"vm"
    assert options[26] == (1400).to_bytes(2, "big")
    assert options[15] == b"example.test"
    assert options[119] == b"\x07example\x04test\x00\x04test\x00"


def test_what_it_takes_is_its_own() -> None:
    _, taken = told(asked(REQUEST, _50=bytes((10, 0, 2, 2)), _54=bytes((10, 0, 2, 1))))
    renewed, _ = told(asked(REQUEST, ciaddr="10.0.2.2"))
    known, more = told(asked(INFORM, ciaddr="10.0.2.2"))

    assert taken[53] == bytes((ACK,))
    assert renewed == "10.0.2.2"
    assert known == "0.0.0.0"
    assert 51 not in more


def test_another_address_is_refused_so_that_it_asks_anew() -> None:
    address, options = told(asked(REQUEST, _50=bytes((192, 168, 0, 9))))

    assert (address, options[53]) == ("0.0.0.0", bytes((NAK,)))


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(asked(DISCOVER, mac="02:aa:00:00:00:02"), id="another card's"),
        pytest.param(
            asked(REQUEST, _50=bytes((10, 0, 2, 2)), _54=bytes((10, 0, 2, 9))), id="another server's"
        ),
        pytest.param(asked(7), id="an address given back"),
        pytest.param(b"", id="empty"),
        pytest.param(asked(DISCOVER)[:200], id="half of one"),
        pytest.param(asked(DISCOVER) + bytes(2000), id="far too long"),
    ],
)
def test_what_is_none_of_ours_has_no_answer(packet: bytes) -> None:
    assert answered(packet) is None


def test_what_does_not_fit_is_left_out_from_the_end() -> None:
    long = Lease(
        MAC, "10.0.2.2/24", "10.0.2.1", "10.0.2.1", 1500, "vm",
        private=tuple((number, "x" * 200) for number in range(224, 254)),
    )  # fmt: skip

    _, small = told(asked(DISCOVER), long)
    _, large = told(asked(DISCOVER, _57=(1400).to_bytes(2, "big")), long)

    assert [number for number in small if number >= 224] == [224]
    assert [number for number in large if number >= 224] == [224, 225, 226, 227, 228]
    assert small[3] == large[3]


@given(st.binary(max_size=1600))
def test_no_packet_makes_it_fall(noise: bytes) -> None:
    question = dhcp.question(asked(DISCOVER)[:240] + noise)
    if question:
        dhcp.answer(question, LEASE)
