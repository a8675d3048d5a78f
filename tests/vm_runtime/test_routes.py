"""Where a node goes already, and what of it a guest's own network hides from that guest."""

from datetime import UTC, datetime
from ipaddress import IPv4Network
from typing import Any

import pytest

from diskyard.api.instance import instance
from diskyard.api.meta import NODE, POD
from diskyard.api.names import kubevirt
from tests import builders
from tests.cli.test_doctor import INSIDE, ROUTES
from vm_runtime.controller import phases
from vm_runtime.controller.configuration import networking
from vm_runtime.network.routes import MOST, Route, from_text, routes, text

VPN = Route(IPv4Network("10.0.0.0/8"), "vpn0")


def test_the_kernels_table_is_read_without_the_default_route() -> None:
    assert routes(ROUTES + INSIDE) == (Route(IPv4Network("192.168.1.0/24"), "eth0"), VPN)


def test_what_a_node_tells_is_understood_and_bounded() -> None:
    assert from_text(text([VPN])) == (VPN,)
    assert from_text("nonsense,10.0.0.0/8 vpn0") == (VPN,)
    assert from_text("") == ()
    assert len(from_text(text([VPN] * 2 * MOST))) == MOST


@pytest.mark.parametrize(
    ("card", "cidr", "own", "hidden"),
    [
        ({"masquerade": {}}, "", True, "10.0.2.0/24 overlaps 10.0.0.0/8, which its node reaches by vpn0"),
        ({"masquerade": {}}, "10.9.0.0/24", True, "10.9.0.0/24 overlaps 10.0.0.0/8"),
        ({"masquerade": {}}, "172.30.0.0/24", True, ""),
        ({"masquerade": {}}, "172.30.0.0/24", False, "10.0.2.0/24 overlaps 10.0.0.0/8"),
        ({"bridge": {}}, "", True, ""),
    ],
    ids=["the usual one", "a chosen one", "one that is free", "user mode has its own", "the pod's"],
)
def test_a_guest_says_what_its_own_network_hides_from_it(
    card: dict[str, Any], cidr: str, own: bool, hidden: str
) -> None:
    obj = builders.stored(builders.instance("vm"))
    obj["spec"]["domain"]["devices"]["interfaces"] = [{"name": "default", **card}]
    obj["spec"]["networks"] = [{"name": "default", "pod": {"vmNetworkCIDR": cidr}}]
    limits = {kubevirt.TUN_RESOURCE: "1"} if own else {}
    pod = builders.some(
        POD, "launcher", spec={"containers": [{"name": "compute", "resources": {"limits": limits}}]}
    )
    said = {kubevirt.NETWORKING: "a sentence", kubevirt.ROUTES: text([VPN])}
    told = networking([builders.some(NODE, "node", metadata={"annotations": said})])

    subject = phases.Subject(obj, instance(obj), (), pod, (), told.reason, told.routes)
    found = phases.status(subject, phases.Stage("Running"), datetime.now(UTC))["conditions"]

    assert hidden in "".join(each["message"] for each in found if each["type"] == "NetworkOverlap")
    assert any(each["type"] == "NetworkOverlap" for each in found) is bool(hidden)
