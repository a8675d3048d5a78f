"""What a request is about, read from its path as Kubernetes reads it. Pure."""

from dataclasses import dataclass
from urllib.parse import unquote

from diskyard.api.meta import Key
from diskyard.api.names.kubevirt import DOORS

_LONGEST_DOOR = 5
_OF_NAMESPACES = ("status", "finalize")


@dataclass(frozen=True)
class Target:
    """One resource's collection, one object of it, or one subresource of that object."""

    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    tail: tuple[str, ...] = ()
    """What follows a subresource of guests, such as a port."""

    @property
    def key(self) -> Key:
        """Where the object is."""
        return Key(self.name, self.namespace)


def target(path: str) -> Target | None:
    """The target of `/api/v1/...` or `/apis/GROUP/VERSION/...`; None: the path has another shape."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and not (len(rest) == 3 and rest[2] in _OF_NAMESPACES):
        namespace, rest = rest[1], rest[2:]
    longest = _LONGEST_DOOR if group == DOORS else 3
    if not all(parts) or len(rest) > longest:
        return None
    name, subresource = (*rest[1:3], "", "")[:2]
    return Target(group, version, rest[0], namespace, name, subresource, tuple(rest[3:]))
