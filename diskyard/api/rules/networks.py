"""Admission of a guest's networks and interfaces, in KubeVirt's words. Pure."""

import re
from collections import Counter
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address
from typing import Any, Final

from diskyard.api.instance import BINDINGS, BRIDGE, part, parts
from diskyard.api.meta import Obj
from diskyard.api.rules.disks import duplicates
from diskyard.api.subnet import inner
from diskyard.errors import Cause, InvalidRequest

MODELS: Final = ("virtio", "e1000", "e1000e", "igb", "ne2k_pci", "pcnet", "rtl8139")
RESERVED_MAC: Final = "02:00:00:00:00:00"
"""Of the bridge that is the guest's gateway."""
SERVED: Final = (BRIDGE, "masquerade")
NO_BRIDGE: Final = (
    "Bridge on pod network configuration is not enabled under kubevirt-config: use masquerade, or set "
    "spec.configuration.network.permitBridgeInterfaceOnPodNetwork of KubeVirt kubevirt/kubevirt"
)
MISNAMED: Final = (
    "Network interface name can only contain alphabetical characters, numbers, dashes (-) or underscores (_)"
)
PRIVATE: Final = range(224, 255)
"""The options of DHCP that are a site's own (RFC 3942)."""

_MAC: Final = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}")
_INTERFACE: Final = re.compile(r"[A-Za-z0-9_-]+")
_MULTICAST: Final = 0x01
_PORT_NAME: Final = re.compile(r"(?=.*[a-z])[a-z0-9]([a-z0-9]|-(?!-)){0,13}[a-z0-9]|[a-z]")


def network_causes(spec: Obj, at: str) -> Iterator[Cause]:
    """What is wrong with the networks of the spec at the path `at`."""
    path = f"{at}.domain.devices.interfaces"
    interfaces = parts(part(part(spec, "domain"), "devices"), "interfaces")
    networks = parts(spec, "networks")
    yield from duplicates(interfaces, path)
    yield from duplicates(networks, f"{at}.networks")
    by_name = {str(each.get("name")): each for each in networks}
    for number, each in enumerate(interfaces):
        place = f"{path}[{number}]"
        if not _INTERFACE.fullmatch(str(each.get("name") or "")):
            yield Cause(MISNAMED, f"{place}.name")
        network = by_name.get(str(each.get("name")))
        if network is None:
            yield Cause(f"{place}.name '{each.get('name')}' not found.", f"{place}.name")
        elif each.get("masquerade") is not None and network.get("pod") is None:
            yield Cause("Masquerade interface only implemented with pod network", f"{place}.name")
        yield from _interface(each, place)
    used = {str(each.get("name")) for each in interfaces}
    for number, each in enumerate(networks):
        place = f"{at}.networks[{number}]"
        if str(each.get("name")) not in used:
            yield Cause(f"{place}.name '{each.get('name')}' not found.", f"{place}.name")
        yield from _network(each, place)
    if sum(each.get("pod") is not None for each in networks) > 1:
        yield Cause(f"more than one interface is connected to a pod network in {path}", path)


def bridge_causes(spec: Obj, at: str) -> Iterator[Cause]:
    """Interfaces that bridge the pod's network, where the operator lets nobody."""
    pods = {str(each.get("name")) for each in parts(spec, "networks") if each.get("pod") is not None}
    for number, each in enumerate(parts(part(part(spec, "domain"), "devices"), "interfaces")):
        if each.get(BRIDGE) is not None and str(each.get("name")) in pods:
            yield Cause(NO_BRIDGE, f"{at}.domain.devices.interfaces[{number}].name")


def _network(network: Obj, place: str) -> Iterator[Cause]:
    for kind in ("multus", "resourceClaim"):
        if network.get(kind) is not None:
            text = f"{place}.{kind} is not supported yet: pod is"
            yield Cause(text, f"{place}.{kind}", "FieldValueNotSupported")
    said = part(network, "pod").get("vmNetworkCIDR")
    if said:
        field = f"{place}.pod.vmNetworkCIDR"
        try:
            inner(str(said))
        except InvalidRequest as wrong:
            yield Cause(f"{field}: {wrong}", field)


def _interface(interface: Obj, place: str) -> Iterator[Cause]:
    bindings = [kind for kind in BINDINGS if interface.get(kind) is not None]
    name = interface.get("name")
    if len(bindings) > 1:
        yield Cause(f"logical interface {name} has more than one binding: {', '.join(bindings)}", place)
    for kind in bindings:
        if kind not in SERVED:
            text = f"{place}.{kind} is not supported yet: bridge and masquerade are"
            yield Cause(text, f"{place}.{kind}", "FieldValueNotSupported")
    model = str(interface.get("model") or "virtio")
    if model not in MODELS:
        text = f"interface {place}.name uses model {model} that is not supported."
        yield Cause(text, f"{place}.model", "FieldValueNotSupported")
    yield from _mac(str(interface.get("macAddress") or ""), place)
    yield from _ports(parts(interface, "ports"), f"{place}.ports")
    yield from _options(part(interface, "dhcpOptions"), f"{place}.dhcpOptions")


def _mac(mac: str, place: str) -> Iterator[Cause]:
    field = f"{place}.macAddress"
    if mac and not _MAC.fullmatch(mac):
        yield Cause(f"interface {place}.name has malformed MAC address ({mac[:64]}).", field)
    elif mac.lower().replace("-", ":") == RESERVED_MAC:
        yield Cause(f"interface {place}.name has MAC address ({mac}) that is reserved.", field)
    elif mac and int(mac[:2], 16) & _MULTICAST:
        yield Cause(
            f"interface {place}.name has MAC address ({mac}) of a group, which no card can have.", field
        )


def _ports(ports: list[Obj], place: str) -> Iterator[Cause]:
    for number, each in enumerate(ports):
        at, said, protocol = f"{place}[{number}]", each.get("port"), each.get("protocol") or "TCP"
        if not said:
            yield Cause("Port field is mandatory.", at, "FieldValueRequired")
        elif not isinstance(said, int) or not 0 < said < 65536:
            yield Cause("Port field must be in range 0 < x < 65536.", at)
        if protocol not in ("TCP", "UDP"):
            yield Cause("Unknown protocol, only TCP or UDP allowed", f"{at}.protocol")
        if each.get("name") and not _PORT_NAME.fullmatch(str(each["name"])):
            yield Cause(f"Invalid name of the port: {str(each['name'])[:64]}", f"{at}.name")
    names = Counter(str(each["name"]) for each in ports if each.get("name"))
    for name in (name for name, count in names.items() if count > 1):
        yield Cause(f"Duplicate name of the port: {name}", place, "FieldValueDuplicate")


def _options(said: Obj, place: str) -> Iterator[Cause]:
    if any(not _is_address(each) for each in said.get("ntpServers") or ()):
        yield Cause("NTP servers must be a list of valid IPv4 addresses.", f"{place}.ntpServers")
    numbers = [each.get("option") for each in parts(said, "privateOptions")]
    if any(number not in PRIVATE for number in numbers):
        text = "provided DHCPPrivateOptions are out of range, must be in range 224 to 254"
        yield Cause(text, f"{place}.privateOptions")
    if len(set(numbers)) < len(numbers):
        text = "Found Duplicates: you have provided duplicate DHCPPrivateOptions"
        yield Cause(text, f"{place}.privateOptions")


def _is_address(text: Any) -> bool:
    try:
        IPv4Address(text)
    except (AddressValueError, ValueError):
        return False
    return True
