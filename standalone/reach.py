"""Where a yard is reached: always on the loopback; by `--listen`, from other machines too."""

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from diskyard.api.meta import SERVICE, Key, Obj
from diskyard.errors import AlreadyExists, InvalidRequest
from diskyard.kube.client import Client

LOOPBACK: Final = "127.0.0.1"
_ADVICE: Final = (
    "Give the address or the name by which other machines reach this one: `ip address` shows them"
)


@dataclass(frozen=True)
class Reach:
    """A port (0: any free one) and, besides the loopback, an address or a name of this machine."""

    port: int
    address: str = ""

    @classmethod
    def parsed(cls, port: int, listen: str | None) -> "Reach":
        """What the command line says. Raises InvalidRequest for what no other machine could use."""
        return cls(port, _address(listen) if listen else "")

    @property
    def further(self) -> tuple[str, ...]:
        """Where to listen besides the loopback."""
        return (self.address,) if self.address else ()

    @property
    def names(self) -> tuple[str, ...]:
        """What the server's certificate is for."""
        return ("localhost", LOOPBACK, *self.further)


@dataclass(frozen=True)
class Published:
    """A server of the yard's own, as its Service tells of it."""

    key: Key
    port: int
    address: str = LOOPBACK
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


def publish(client: Client, what: Published, reach: Reach) -> None:
    """A Service for a server of the yard's own, at addresses that work from this machine and from those let in."""
    spec = {
        "type": "ClusterIP",
        "clusterIP": what.address,
        "clusterIPs": [what.address],
        "externalIPs": [one for one in reach.further if _is_address(one)] or None,
        "ports": [{"name": "https", "port": what.port, "protocol": "TCP", "targetPort": what.port}],
    }
    metadata = {"labels": dict(what.labels), "annotations": dict(what.annotations)}
    wanted: Obj = {
        "apiVersion": SERVICE.api_version,
        "kind": SERVICE.kind,
        "metadata": {"name": what.key.name, "namespace": what.key.namespace, **metadata},
        "spec": {name: value for name, value in spec.items() if value},
    }
    try:
        client.create(SERVICE, wanted)
    except AlreadyExists:
        client.patch(SERVICE, what.key, {"metadata": metadata, "spec": spec})


def _address(text: str) -> str:
    said = text.strip().removeprefix("[").removesuffix("]")
    if not _is_address(said):
        return _name(said)
    address = ipaddress.ip_address(said)
    if address.is_unspecified:
        raise InvalidRequest(f"--listen {text}: expected one address, found all of them. {_ADVICE}")
    if address.is_loopback:
        raise InvalidRequest(
            f"--listen {text}: that is this machine alone, which may come in anyway. {_ADVICE}"
        )
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        raise InvalidRequest(f"--listen {text}: expected an address without a zone (%...). {_ADVICE}")
    return str(address)


def _name(name: str) -> str:
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as error:
        raise InvalidRequest(f"--listen {name}: no such address or name: {error}. {_ADVICE}") from error
    if all(ipaddress.ip_address(one).is_loopback for one in found):
        told = ", ".join(sorted(found))
        raise InvalidRequest(
            f"--listen {name}: on this machine that name stands for {told} (see /etc/hosts). {_ADVICE}"
        )
    return name


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
