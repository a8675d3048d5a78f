"""Names of clones: what a copy between two claims is called on objects, in pods and on the wire."""

from typing import Final

from diskyard.api.names.cdi import P

SOURCE: Final = "clone"
"""Of a claim's `storage.import.source`, as ours alone: its bytes come from a cloner."""
SCHEME: Final = "clone"
CONTAINER: Final = "cdi-clone-source"
COMPONENT: Final = "cdi-clone-source"
COMMAND: Final = ("diskyard-cloner",)
PORT: Final = 8443
HOST: Final = "clone-source"
"""The name in a cloner's certificate: it is reached by its address."""
CLIENT: Final = "clone-target"
SOURCE_DIR: Final = "/var/run/cdi/clone/source"
KEYS_DIR: Final = "/clone-keys"
KEYS_VOLUME: Final = "diskyard-clone-keys"
SOURCE_VOLUME: Final = "cdi-clone-source-vol"
AUTHORITY_ENTRY: Final = "ca.crt"
SERVER_ENTRIES: Final = ("server.crt", "server.key")
CLIENT_ENTRIES: Final = ("client.crt", "client.key")
ENV_KEYS: Final = "DISKYARD_CLONE_KEYS"

OWNED_BY: Final = P + "OwnedByUID"
"""A label on everything that a clone makes for a while: the uid of the claim that it is for."""
EVENTS_SOURCE: Final = P + "events.source"
"""An annotation on the same: that claim, NAMESPACE/NAME."""
NAMESPACE: Final = P + "dataSourceNamespace"
"""On a claim that is cloned: where what its dataSourceRef names is, when that is another namespace."""
TOKEN: Final = P + "storage.clone.token"
LASTING_TOKEN: Final = P + "storage.extended.clone.token"
TYPE: Final = P + "cloneType"
FALLBACK: Final = P + "cloneFallbackReason"
PHASE: Final = P + "clonePhase"
ERROR: Final = P + "cloneError"
PERMISSIVE: Final = P + "permissiveClone"
CLONE_OF: Final = "k8s.io/CloneOf"
REQUEST: Final = "k8s.io/CloneRequest"
FINALIZER: Final = P + "clonePopulator"
KEYS: Final = "diskyard.io/clone-keys"
"""Ours, on the claim that is filled for a while: the Secret with the keys of this one copy."""
ADVISED_SIZE: Final = P + "storage.import.advisedRestoreSize"
SOURCE_MODE: Final = P + "storage.import.sourceVolumeMode"
"""On snapshots: the volume mode of what they were taken of."""
