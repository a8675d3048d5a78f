"""Names, addresses and rules of the pods' network, as they are made up."""

from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from diskyard.errors import InvalidRequest, Refused
from standalone.node.network import plan as plans
from standalone.node.network import rules
from standalone.node.network.plan import Plan
from vm_runtime.network.routes import Route

PLAN = Plan("abcde", IPv4Network("10.64.4.0/22"))
DOCKER = Route(IPv4Network("172.17.0.0/16"), "docker0")


def chain(table: str, name: str = "FORWARD", family: str = "ip", hook: str = "forward") -> dict[str, Any]:
    """A chain as `nft --json` lists it."""
    return {"chain": {"family": family, "table": table, "name": name, "type": "filter", "hook": hook}}


def marked(table: str, handle: int) -> dict[str, Any]:
    """A rule of ours in it."""
    return {
        "rule": {"family": "ip", "table": table, "chain": "FORWARD", "handle": handle, "comment": PLAN.mark}
    }


def test_every_name_fits_a_device() -> None:
    assert len(PLAN.cable("11111111-2222-3333-4444-555555555555")) == 15
    assert len(PLAN.bridge) <= 15
    assert PLAN.cable_to(PLAN.namespace("uid")) == PLAN.cable("uid")


def test_addresses_are_a_pods_own_and_neither_the_bridges_nor_the_broadcasts() -> None:
    small = Plan("abcde", IPv4Network("10.64.4.0/28"))
    taken: list[str] = []
    for number in range(13):
        taken.append(small.address(f"pod-{number}", taken))

    assert sorted(set(taken), key=lambda each: int(each.rpartition(".")[2])) == [
        f"10.64.4.{number}" for number in range(2, 15)
    ]
    with pytest.raises(Refused, match=r"all 13 addresses of 10\.64\.4\.0/28 are taken"):
        small.address("one more", taken)


def test_one_yard_finds_the_same_network_again_and_another_a_different_one() -> None:
    first, second = plans.yard(Path("/var/lib/diskyard")), plans.yard(Path("/home/a/yard"))

    assert plans.free(first, ()) == plans.free(first, ()) != plans.free(second, ())


def test_a_network_that_is_routed_somewhere_is_not_taken() -> None:
    ten = Route(IPv4Network("10.0.0.0/8"), "tun0")

    assert plans.free("abcde", (ten,)).overlaps(IPv4Network("172.16.0.0/12"))
    everything = (ten, Route(IPv4Network("172.16.0.0/12"), "a"), Route(IPv4Network("192.168.0.0/16"), "b"))
    with pytest.raises(Refused, match="every private network is routed somewhere"):
        plans.free("abcde", everything)


def test_a_choice_that_overlaps_is_refused_by_name() -> None:
    default = Route(IPv4Network("0.0.0.0/0"), "eth0")

    assert plans.chosen(IPv4Network("10.9.0.0/22"), (default, DOCKER)) == IPv4Network("10.9.0.0/22")
    with pytest.raises(
        Refused, match=r"172\.17\.4\.0/22 overlaps 172\.17\.0\.0/16 of docker0: choose another"
    ):
        plans.chosen(IPv4Network("172.17.4.0/22"), (default, DOCKER))


@pytest.mark.parametrize("text", ["10.9.0.0", "10.9.0.1/22", "10.9.0.0/30", "fd00::/64", "home"])
def test_what_is_no_network_for_guests_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="--guest-network"):
        plans.parsed(text)


def test_routes_are_read_without_our_own() -> None:
    shown: list[dict[str, object]] = [
        {"dst": "default", "dev": "eth0"},
        {"dst": "172.17.0.0/16", "dev": "docker0"},
        {"dst": "10.64.4.0/22", "dev": "dy-abcde"},
        {"type": "local", "dst": "172.17.0.1", "dev": "docker0"},
        {"dst": "10.1.2.3", "dev": "wg0"},
    ]

    assert plans.routes(shown, "dy-abcde") == (DOCKER, Route(IPv4Network("10.1.2.3/32"), "wg0"))


def test_name_servers_on_this_machines_loopback_are_no_use_to_guests() -> None:
    said = "nameserver 127.0.0.53\nnameserver fd00::1\nnameserver x\nnameserver 192.0.2.53\nsearch example.test .\n"

    assert plans.servers(said) == (("192.0.2.53",), ("example.test",))


def test_others_chains_let_our_guests_through_once() -> None:
    known = [chain("filter"), chain("diskyard_abcde"), chain("nat", "POSTROUTING", hook="postrouting")]

    text = rules.passes(PLAN, known)

    assert text == (
        'insert rule ip filter FORWARD iifname "dy-abcde" accept comment "diskyard abcde"\n'
        'insert rule ip filter FORWARD oifname "dy-abcde" accept comment "diskyard abcde"\n'
    )
    assert rules.passes(PLAN, [*known, marked("filter", 7)]) == ""


def test_what_was_put_into_others_chains_is_taken_out_again() -> None:
    assert rules.withdrawal(PLAN, [chain("filter"), marked("filter", 7), marked("filter", 8)]) == (
        "delete rule ip filter FORWARD handle 7\ndelete rule ip filter FORWARD handle 8\n"
    )
