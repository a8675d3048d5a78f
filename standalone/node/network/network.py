"""The pods' network on this machine: made at the start, kept, and taken away with the last pod. Needs root."""

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import Final

from diskyard import log
from diskyard.errors import DiskyardError, Passing, Refused
from diskyard.kube.pulse import Pulse
from standalone.node.network import plan as plans
from standalone.node.network import rules
from standalone.node.network.plan import Plan
from vm_runtime.agent import links
from vm_runtime.agent.network import Networking
from vm_runtime.network.plan import POD_NIC, Connection
from vm_runtime.network.routes import Route, overlapped

PROGRAMS: Final = ("ip", "nft", "nsenter")
TUN: Final = Path("/dev/net/tun")
RESOLVERS: Final = (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf"))
"""The first has the servers behind systemd's own, which nobody but this machine reaches."""
EVERY: Final = 30.0
"""Seconds between two looks at whether others' rules keep our guests in: firewalls are loaded anew now and then."""
_LEGACY: Final = Path("/proc/net/ip_tables_names")

_log = log.logger("network")


@dataclass(frozen=True)
class Wish:
    """What the operator says about it."""

    kept: Path
    """The file that remembers which addresses it has."""
    subnet: IPv4Network | None = None
    """None: one that is free."""


@dataclass(frozen=True)
class Unconnected:
    """There is no network for pods here."""

    why: str

    @property
    def networking(self) -> Networking:
        """What the node says of it."""
        return Networking(own=False, reason=self.why)


def opened(directory: Path, wish: Wish, say: Callable[[str], None]) -> "Network | Unconnected":
    """The network of a data directory's pods, where this user and machine can make one. Raises Refused.

    What the operator has asked for and cannot have is refused; what was not asked for is done without.
    """
    try:
        check_means()
        return Network.open(directory, wish, say)
    except (Passing, Refused) as failure:
        if wish.subnet is not None:
            raise
        return Unconnected(str(failure))


class Network:
    """The bridge, the rules around it, and a namespace for each pod. Safe to use from several threads."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._lock = threading.Lock()
        self._nameservers, self._searches = _servers()
        self._pulse: Pulse | None = None

    @classmethod
    def open(cls, directory: Path, wish: Wish, say: Callable[[str], None]) -> "Network":
        """Have a network for the pods of that data directory. Raises Refused, Passing, which say why there is none."""
        name = plans.yard(directory)
        known = plans.routes(links.shown("-4", "route", "show", "table", "all"), f"dy-{name}")
        network = cls(Plan(name, _subnet(name, wish, known, say), _mtu()))
        network._raise()
        network._pulse = Pulse("network", EVERY, network._hold)
        network._pulse.start()
        wish.kept.write_text(json.dumps({"subnet": str(network.plan.subnet)}))
        return network

    @property
    def networking(self) -> Networking:
        """What the node says of it."""
        return Networking(
            own=True, reason=f"guests have addresses of {self.plan.subnet} on {self.plan.bridge}"
        )

    def connect(self, uid: str, address: str) -> str:
        """The network namespace of a pod, made where needed, with that address. Raises Passing."""
        with self._lock:
            name = self.plan.namespace(uid)
            if not self._is_whole(uid):
                self._remove(uid)
                self._cable(uid, IPv4Interface((address, self.plan.subnet.prefixlen)))
        return str(links.NAMESPACES / name)

    def connection(self, uid: str, address: str) -> Connection:
        """What there is to know of a pod's network."""
        plan = self.plan
        return Connection(
            plan.namespace(uid), IPv4Interface((address, plan.subnet.prefixlen)), plan.gateway.ip,
            plan.mac(uid), plan.mtu, self._nameservers, self._searches,
        )  # fmt: skip

    def disconnect(self, uid: str) -> None:
        """Take a pod's network away. Raises Passing."""
        with self._lock:
            self._remove(uid)

    def sweep(self, kept: Iterable[str]) -> None:
        """Take away what no pod has any more. Raises Passing."""
        with self._lock:
            wanted = {self.plan.namespace(uid) for uid in kept}
            for name in self._namespaces():
                if name not in wanted:
                    self._discard(name, self.plan.cable_to(name))

    def close(self) -> None:
        """Let go; bridge and rules go too where no pod is left."""
        if self._pulse:
            self._pulse.close()
        with self._lock, suppress(Passing):
            if not self._namespaces():
                self._lower()

    def _raise(self) -> None:
        bridge = self.plan.bridge
        if not links.there(bridge):
            links.ip("link", "add", bridge, "type", "bridge", "stp_state", "0", "forward_delay", "0")
        links.batch(
            (
                f"link set {bridge} mtu {self.plan.mtu}",
                f"address flush dev {bridge} scope global",
                f"address add {self.plan.gateway} dev {bridge}",
                f"link set {bridge} up",
            )
        )
        links.nft(rules.rules(self.plan))
        self._open_ways()

    def _hold(self) -> None:
        """Have the ways stand open, whoever has loaded their own rules meanwhile."""
        try:
            self._open_ways()
        except Passing as failure:
            _log.warning("guests may not reach beyond this machine", error=failure)

    def _open_ways(self) -> None:
        found = links.listed("ruleset")
        missing = rules.passes(self.plan, found)
        if not rules.stands(self.plan, found):
            missing += rules.rules(self.plan)
        if missing:
            links.nft(missing)
        links.write(_forwarding(self.plan.bridge))
        _pass_legacy(self.plan)

    def _lower(self) -> None:
        with suppress(Passing):
            gone = rules.withdrawal(self.plan, links.listed("ruleset")) + rules.removal(self.plan)
            links.nft(gone)
        _pass_legacy(self.plan, "-D")
        if links.there(self.plan.bridge):
            links.ip("link", "delete", self.plan.bridge)

    def _cable(self, uid: str, address: IPv4Interface) -> None:
        """Whole when its end out here is up, which is done last of all."""
        plan = self.plan
        name, cable = plan.namespace(uid), plan.cable(uid)
        links.ip("netns", "add", name)
        peer = f"peer name {POD_NIC} mtu {plan.mtu} address {plan.mac(uid)} netns {name}"
        links.ip(*f"link add {cable} mtu {plan.mtu} type veth {peer}".split())
        links.batch(
            (
                "link set lo up",
                f"address add {address} dev {POD_NIC}",
                f"link set {POD_NIC} up",
                f"route add default via {plan.gateway.ip}",
            ),
            name,
        )
        links.write({"ipv6/conf/all/disable_ipv6": "1"}, name)
        links.batch((f"link set {cable} master {plan.bridge}", f"link set {cable} up"))

    def _is_whole(self, uid: str) -> bool:
        cable = self.plan.cable(uid)
        if not (links.NAMESPACES / self.plan.namespace(uid)).exists() or not links.there(cable):
            return False
        return any("UP" in each["flags"] for each in links.shown("link", "show", "dev", cable))

    def _namespaces(self) -> list[str]:
        if not links.NAMESPACES.is_dir():
            return []
        return sorted(
            path.name for path in links.NAMESPACES.iterdir() if path.name.startswith(f"{self.plan.bridge}-")
        )

    def _remove(self, uid: str) -> None:
        self._discard(self.plan.namespace(uid), self.plan.cable(uid))

    def _discard(self, name: str, cable: str) -> None:
        if links.there(cable):
            with suppress(Passing):  # it goes with its other end, which may just have ended
                links.ip("link", "delete", cable)
        if (links.NAMESPACES / name).exists():
            links.ip("netns", "delete", name)


def check_means() -> None:
    """Whether this user and machine can make networks. Raises Refused, which says what is missing."""
    if os.geteuid() != 0:
        raise Refused("only root can make networks for guests")
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        raise Refused(f"{', '.join(missing)} is not installed (iproute2, nftables, util-linux)")
    if not TUN.exists():
        raise Refused(f"{TUN} is not there: load the kernel's module tun")


def _subnet(name: str, wish: Wish, known: tuple[Route, ...], say: Callable[[str], None]) -> IPv4Network:
    if wish.subnet is not None:
        return plans.chosen(wish.subnet, known)
    try:
        kept = IPv4Network(json.loads(wish.kept.read_text())["subnet"])
    except (OSError, ValueError, KeyError, TypeError):
        return plans.free(name, known)
    other = overlapped(kept, known)
    if other:
        say(
            f"the guests' network {kept} overlaps {other.network} of {other.device}: guests do not reach what is "
            f"there; stop them and choose another with {plans.OPTION}"
        )
    return kept


def _mtu() -> int:
    """What packets to everywhere may have."""
    for route in links.shown("-4", "route", "show", "default"):
        for link in links.shown("link", "show", "dev", str(route.get("dev"))):
            return int(link.get("mtu") or 1500)
    return 1500


def _forwarding(bridge: str) -> dict[str, str]:
    """Packets go on between the bridge and the way out, and nowhere else, where none went on before."""
    ways = {str(each.get("dev")) for each in links.shown("-4", "route", "show", "default")}
    return {f"ipv4/conf/{device.replace('/', '.')}/forwarding": "1" for device in (bridge, *sorted(ways))}


def _servers() -> tuple[tuple[str, ...], tuple[str, ...]]:
    for path in RESOLVERS:
        with suppress(OSError, ValueError):
            servers, searches = plans.servers(path.read_text())
            if servers:
                return servers, searches
    return (), ()


def _pass_legacy(plan: Plan, how: str = "-I") -> None:
    """The same in tables of the old iptables, where the kernel has some."""
    with suppress(OSError):
        if "filter" not in _LEGACY.read_text().split() or not shutil.which("iptables-legacy"):
            return
    for way in ("-i", "-o"):
        rule = (way, plan.bridge, "-m", "comment", "--comment", plan.mark, "-j", "ACCEPT")
        with suppress(DiskyardError):
            try:
                links.command("iptables-legacy", "-w", "-C", "FORWARD", *rule)
            except Passing:
                if how == "-I":
                    links.command("iptables-legacy", "-w", "-I", "FORWARD", *rule)
            else:
                if how == "-D":
                    links.command("iptables-legacy", "-w", "-D", "FORWARD", *rule)
