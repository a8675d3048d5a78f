"""The rules of nftables inside a launcher's namespace: what comes to the pod's address reaches the guest. Pure.

Chains and their names are KubeVirt's (masquerade binding), for those who look at them with `nft list ruleset`.
"""

from collections.abc import Iterator

from vm_runtime.network.plan import BRIDGE_DEVICE, POD_NIC, TAP, Plan


def rules(plan: Plan) -> str:
    """What `nft -f` reads: the whole of the namespace's rules, in the place of any before."""
    table = _bridge(plan) if plan.bridged else _masquerade(plan)
    return "\n".join(["flush ruleset", *table, ""])


def _masquerade(plan: Plan) -> Iterator[str]:
    guest, gateway = plan.guest.ip, plan.gateway.ip
    yield "table ip nat {"
    yield "  chain prerouting { type nat hook prerouting priority -100;"
    yield f'    iifname "{POD_NIC}" counter jump KUBEVIRT_PREINBOUND'
    yield "  }"
    yield "  chain input { type nat hook input priority 100; }"
    yield "  chain output { type nat hook output priority -100;"
    for match in _matches(plan):
        yield f"    ip daddr 127.0.0.1 {match}counter dnat to {guest}"
    yield "  }"
    yield "  chain postrouting { type nat hook postrouting priority 100;"
    yield f"    ip saddr {guest} counter masquerade"
    yield f'    oifname "{BRIDGE_DEVICE}" counter jump KUBEVIRT_POSTINBOUND'
    yield "  }"
    yield "  chain KUBEVIRT_PREINBOUND {"
    for match in _matches(plan):
        yield f"    {match}counter dnat to {guest}"
    yield "  }"
    yield "  chain KUBEVIRT_POSTINBOUND {"
    for match in _matches(plan):
        yield f"    ip saddr 127.0.0.1 {match}counter snat to {gateway}"
    yield "  }"
    yield "}"


def _matches(plan: Plan) -> list[str]:
    return [f"{protocol} dport {number} " for protocol, number in plan.ports] or [""]


def _bridge(plan: Plan) -> Iterator[str]:
    """The guest's questions for an address stay here, and it speaks for no address but its own."""
    guest, mac = plan.guest.ip, plan.lease.mac
    yield "table bridge guest {"
    yield "  chain forward { type filter hook forward priority 0;"
    yield "    udp dport { 67, 68 } drop"
    yield f'    iifname "{TAP}" ether saddr != {mac} drop'
    yield f'    iifname "{TAP}" ether type ip ip saddr != {guest} drop'
    yield f'    iifname "{TAP}" ether type arp arp saddr ip != {guest} drop'
    yield "  }"
    yield "}"
