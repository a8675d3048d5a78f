"""The rules of nftables on the machine itself: guests reach out, and nobody but this machine reaches in. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from standalone.node.network.plan import Plan

FAMILIES: Final = ("ip", "inet")


def rules(plan: Plan) -> str:
    """What `nft -f` reads: our table, in the place of an earlier one."""
    bridge = plan.bridge
    return "\n".join((
        f"table ip {plan.table} {{}}",
        f"delete table ip {plan.table}",
        f"table ip {plan.table} {{",
        "  chain postrouting { type nat hook postrouting priority 100;",
        f'    ip saddr {plan.subnet} oifname != "{bridge}" masquerade',
        "  }",
        "  chain forward { type filter hook forward priority 0;",
        f'    iifname "{bridge}" accept',
        f'    oifname "{bridge}" ct state established,related accept',
        f'    oifname "{bridge}" drop',
        "  }",
        "}",
        "",
    ))  # fmt: skip


def stands(plan: Plan, ruleset: Iterable[dict[str, Any]]) -> bool:
    """Whether our table is there."""
    return any((each.get("table") or {}).get("name") == plan.table for each in ruleset)


def removal(plan: Plan) -> str:
    """What takes our table away, if it is there."""
    return f"table ip {plan.table} {{}}\ndelete table ip {plan.table}\n"


def passes(plan: Plan, ruleset: Iterable[dict[str, Any]]) -> str:
    """What lets our guests through others' chains that see forwarded packets, where it is not there yet.

    A verdict holds for its chain alone: what docker, libvirt, ufw or firewalld drop stays dropped. Two matches by
    name of device are all that old versions of `iptables-nft` can show; our own table sees to the rest.
    """
    known = list(ruleset)
    return "".join(
        f'insert rule {chain} {way} "{plan.bridge}" accept comment "{plan.mark}"\n'
        for chain in _chains(plan, known)
        if chain not in _passed(plan, known)
        for way in ("iifname", "oifname")
    )


def withdrawal(plan: Plan, ruleset: Iterable[dict[str, Any]]) -> str:
    """What takes our rules out of others' chains."""
    return "".join(f"delete rule {_name(rule)} handle {rule['handle']}\n" for rule in _marked(plan, ruleset))


def _chains(plan: Plan, ruleset: Iterable[dict[str, Any]]) -> Iterator[str]:
    for each in ruleset:
        chain = each.get("chain") or {}
        forwards = chain.get("hook") == "forward" and chain.get("type") == "filter"
        if forwards and chain["family"] in FAMILIES and chain["table"] != plan.table:
            yield f"{chain['family']} {chain['table']} {chain['name']}"


def _passed(plan: Plan, ruleset: Iterable[dict[str, Any]]) -> set[str]:
    return {_name(rule) for rule in _marked(plan, ruleset)}


def _marked(plan: Plan, ruleset: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for each in ruleset:
        rule = each.get("rule") or {}
        if rule.get("comment") == plan.mark:
            yield rule


def _name(rule: dict[str, Any]) -> str:
    return f"{rule['family']} {rule['table']} {rule['chain']}"
