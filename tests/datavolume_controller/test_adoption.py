"""Claims that were there before their DataVolume: taken over where user or operator say so, of every source."""

from typing import Any

import pytest

from diskyard.api import meta
from diskyard.api.meta import CDI, CLAIM, CLONE_SOURCE, IMPORT_SOURCE, POD, UPLOAD_SOURCE, Key, Obj
from diskyard.api.names import cdi
from diskyard.api.names.cdi import ADOPTION_GATE
from tests import builders
from tests.builders import data_volume, eventually
from tests.datavolume_controller.conftest import Node, condition

HERE = Key("disk", "default")
PAINTER = {"apiGroup": "paint.example", "kind": "Painter", "name": "p"}
SOURCES: dict[str, Any] = {
    "an import": {"http": {"url": "http://images.example/disk.qcow2"}},
    "an upload": {"upload": {}},
    "a clone": {"pvc": {"namespace": "default", "name": "golden"}},
    "a clone of a snapshot": {"snapshot": {"namespace": "default", "name": "golden"}},
    "somebody's populator": None,
}


def wanted(source: Any, said: str | None = None) -> Obj:
    """A DataVolume with that source, and that word on adoption."""
    dv = data_volume("disk", source=source)
    if source is None:
        del dv["spec"]["source"]
        dv["spec"]["storage"] |= {"dataSourceRef": PAINTER, "accessModes": ["ReadWriteOnce"]}
    if said is not None:
        dv["metadata"]["annotations"] = {cdi.ALLOW_ADOPTION: said}
    return dv


def there(node: Node) -> str:
    """A claim that was filled by hand; its uid."""
    node.client.create(CLAIM, builders.claim("disk"))
    node.client.patch(CLAIM, HERE, {"spec": {"volumeName": "pv-disk"}})
    node.client.patch(CLAIM, HERE, {"status": {"phase": "Bound"}}, "status")
    return meta.uid(node.claim())


def opened(node: Node) -> None:
    """The operator lets claims be adopted."""
    gates = {"spec": {"config": {"featureGates": [cdi.WAIT_GATE, ADOPTION_GATE]}}}
    node.client.patch(CDI, Key("cdi"), gates)


@pytest.mark.parametrize("gate", [False, True], ids=["by annotation", "by gate"])
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
def test_it_is_taken_over_as_it_is(node: Node, source: Any, gate: bool) -> None:
    uid = there(node)
    if gate:
        opened(node)
    owner = node.apply(wanted(source, None if gate else "true"))

    node.until("Succeeded")

    assert eventually(lambda: meta.owned_by(node.claim(), owner))
    assert meta.uid(node.claim()) == uid
    assert not node.client.list(POD).items
    for kind in (IMPORT_SOURCE, UPLOAD_SOURCE, CLONE_SOURCE):
        assert not node.client.list(kind).items


def test_the_users_no_comes_before_the_operators_yes(node: Node) -> None:
    there(node)
    opened(node)
    node.apply(wanted(SOURCES["an import"], "false"))

    eventually(lambda: condition(node.dv(), "Bound")[1] == "ErrResourceExists")

    assert meta.controller_of(node.claim()) is None
