"""The node's agent: what it writes to launchers and about them, which disks it carries, its sign of life."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diskyard.api import meta
from diskyard.api.instance import portrait
from diskyard.api.job import Report
from diskyard.api.meta import EVENT, INSTANCE, NODE, Key
from diskyard.api.names import kubevirt
from diskyard.api.rules.instance import defaults
from diskyard.errors import Passing
from diskyard.kube.reconcile import Action, Merge
from standalone.store.objects import Objects
from tests import builders
from vm_runtime.agent.heartbeat import Heartbeat
from vm_runtime.agent.host import Acceleration
from vm_runtime.agent.launchers import NO_GRANTS, Forget, Grants, Launchers, Observe, World, Write
from vm_runtime.agent.mailbox import Mailbox
from vm_runtime.agent.network import Networking
from vm_runtime.agent.observer import Observer
from vm_runtime.agent.plugs import Grow, Plug, Unplug
from vm_runtime.network.plan import Connection

POD = builders.stored(builders.pod("p"), uid="p")


KNOWN = World(pod=POD, mine=True, there=True, wanted=b"{}", found=b"{}", report=None, observed=True)
"""A launcher that knows its instance, and has said nothing yet."""


def world(**fields: Any) -> World:
    """The same, but for these fields."""
    return replace(KNOWN, **fields)


@pytest.fixture
def launchers(tmp_path: Path) -> Launchers:
    return Launchers("node", tmp_path, Observer(lambda key: None), NO_GRANTS)


def orders(actions: tuple[Action, ...]) -> list[tuple[type, str]]:
    return [(type(each), each.volume) for each in actions if isinstance(each, (Plug, Unplug, Grow))]


@pytest.mark.parametrize(
    ("report", "lent", "wanted"),
    [
        (Report("Running"), {"more": "hp"}, [(Plug, "more")]),
        (Report("Running"), {"more": ""}, []),
        (Report("Running", plugged={"more": "sda"}), {"more": "hp"}, []),
        (Report("Paused", plugged={"more": "sda"}), {}, [(Unplug, "more")]),
        (Report("Running", troubles={"more": "no slot"}), {}, [(Unplug, "more")]),
        (Report("Running", troubles={"more": "no slot"}), {"more": "hp"}, [(Plug, "more")]),
        (Report("ShuttingDown", plugged={"more": "sda"}), {"other": "hp"}, []),
    ],
)
def test_a_guest_is_given_what_is_to_come_and_asked_for_what_is_to_go(
    launchers: Launchers, report: Report, lent: dict[str, str], wanted: list[tuple[type, str]]
) -> None:
    plan = launchers.decide(world(report=report, lent=lent))

    assert orders(plan.actions) == wanted
    assert (plan.requeue_after is not None) is bool(wanted)


@pytest.mark.parametrize(
    ("report", "wanted"),
    [
        (Report("Running", sizes={"root": 1 << 20}), [(Grow, "root")]),
        (Report("Paused", sizes={"root": 1 << 20}), [(Grow, "root")]),
        (Report("Running", sizes={"root": 2 << 20}), []),
        (Report("Running", sizes={"root": 3 << 20}), []),
        (Report("Running", sizes={"other": 1 << 20}), []),
        (Report("ShuttingDown", sizes={"root": 1 << 20}), []),
        (Report("Running"), []),  # of a launcher that is older than all this
    ],
)
def test_a_disk_is_to_grow_as_long_as_its_claim_gives_more(
    launchers: Launchers, report: Report, wanted: list[tuple[type, str]]
) -> None:
    plan = launchers.decide(world(report=report, given={"root": 2 << 20}))

    assert orders(plan.actions) == wanted
    assert (plan.requeue_after is not None) is bool(wanted)


def test_what_a_launcher_says_is_written_down_once(launchers: Launchers) -> None:
    (first,) = launchers.decide(world(report=Report("Running"))).actions
    assert isinstance(first, Merge)
    noted = {**POD, "metadata": {**POD["metadata"], **first.patch["metadata"]}}

    again = launchers.decide(world(pod=noted, report=Report("Running")))

    assert first.patch["metadata"]["uid"] == "p"
    assert again.actions == ()


def test_a_launcher_is_written_to_and_heard_while_it_is_here_and_alive(launchers: Launchers) -> None:
    begun = launchers.decide(world(found=b"", observed=False))
    assert [type(each) for each in begun.actions] == [Write, Observe]
    assert launchers.decide(world(there=False)).requeue_after
    assert [type(each) for each in launchers.decide(world(mine=False)).actions] == [Forget]


def nowhere(_: str) -> Connection | None:
    raise Passing("nft is not installed")


def test_what_keeps_a_guest_from_starting_here_is_told_and_tried_again(
    store: Objects, tmp_path: Path
) -> None:
    obj = defaults(store.create(INSTANCE, builders.instance("vm")))
    content = json.dumps(portrait(obj)).encode()

    with pytest.raises(Passing):
        Write(Mailbox(tmp_path), content, "p", Grants(connections=nowhere)).carry_out(store)
    with pytest.raises(NotADirectoryError):
        Write(Mailbox(Path("/dev/null")), content, "p", NO_GRANTS).carry_out(store)
    Write(Mailbox(tmp_path / "gone"), content, "p", NO_GRANTS).carry_out(store)

    told = [(each["reason"], each["message"]) for each in store.list(EVENT).items]
    assert sorted(told) == [
        ("SyncFailed", "/dev/null cannot be written on this node: Not a directory"),
        ("SyncFailed", "nft is not installed"),
    ]
    assert not (tmp_path / kubevirt.INSTANCE_FILE).exists()


@pytest.mark.parametrize(("works", "offered"), [(True, "1k"), (False, "0")])
def test_a_node_says_that_guests_may_come_and_how_they_run_there(
    store: Objects, works: bool, offered: str
) -> None:
    store.create(NODE, builders.some(NODE, "node"))
    beat = Heartbeat(
        store, "node", Acceleration(kvm=works, reason="probed"), Networking(own=works, reason="made")
    )

    beat.start()
    beat.close()

    node = store.get(NODE, Key("node"))
    said = {kubevirt.KVM_RESOURCE: offered, kubevirt.TUN_RESOURCE: offered}
    assert said.items() <= node["status"]["allocatable"].items()
    assert said.items() <= node["status"]["capacity"].items()
    assert meta.labels(node)[kubevirt.SCHEDULABLE] == "true"
    notes = meta.annotations(node)
    assert (notes[kubevirt.ACCELERATION], notes[kubevirt.NETWORKING]) == ("probed", "made")
    assert notes[kubevirt.HEARTBEAT].endswith("Z")
