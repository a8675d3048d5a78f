"""What the tests of guests' controllers begin with."""

import pytest

from diskyard.api.meta import CLAIM, KUBEVIRT, NAMESPACE, NODE, Key
from diskyard.api.names import kubevirt
from standalone.store.objects import Objects
from tests import builders

EMULATE = {"spec": {"configuration": {"developerConfiguration": {"useEmulation": True}}}}


@pytest.fixture
def ready(store: Objects) -> Objects:
    """A store with a probed node, emulation allowed, and a bound claim."""
    store.create(
        NODE, builders.some(NODE, "node", metadata={"annotations": {kubevirt.ACCELERATION: "it hangs"}})
    )
    store.create(NAMESPACE, builders.namespace("kubevirt"))
    store.create(KUBEVIRT, builders.some(KUBEVIRT, "kubevirt", "kubevirt", **EMULATE))
    store.create(CLAIM, builders.claim("disk"))
    store.patch(CLAIM, Key("disk", "default"), {"status": {"phase": "Bound"}}, "status")
    return store
