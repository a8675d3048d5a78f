"""Where a Service leads, as tables show it. Pure."""

from diskyard.api.meta import Obj
from standalone.wire.table import NONE

MOST = 3
"""So many are shown; of the rest only how many they are."""
_UNSET = "<unset>"


def endpoints(obj: Obj) -> str:
    """Of Endpoints: addresses with their ports."""
    found = []
    for subset in obj.get("subsets") or ():
        addresses = [str(one.get("ip")) for one in subset.get("addresses") or ()]
        ports = subset.get("ports") or ()
        found += [f"{address}:{port.get('port')}" for port in ports for address in addresses]
        found += [] if ports else addresses
    return _shown(found, NONE)


def slice_ports(obj: Obj) -> str:
    """Of an EndpointSlice: its ports."""
    return _shown([str(port.get("port", "*")) for port in obj.get("ports") or ()], _UNSET)


def slice_addresses(obj: Obj) -> str:
    """Of an EndpointSlice: its addresses."""
    found = [address for one in obj.get("endpoints") or () for address in one.get("addresses") or ()]
    return _shown(found, _UNSET)


def _shown(found: list[str], nothing: str) -> str:
    more = f" + {len(found) - MOST} more..." if len(found) > MOST else ""
    return ",".join(found[:MOST]) + more if found else nothing
