"""Kubernetes' own annotations and labels, as far as we serve them."""

from typing import Final

INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"
"""On the bookmark that ends the first part of a watch with `sendInitialEvents`."""
ROLE_LABEL: Final = "node-role.kubernetes.io/"
"""Followed by the role, on nodes."""
