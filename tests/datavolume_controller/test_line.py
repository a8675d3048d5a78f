"""The main line: a DataVolume, its claim, its importer, and what people see of them on the way."""

from diskyard.api import meta
from diskyard.api.meta import POD
from diskyard.api.names import cdi
from tests.builders import data_volume, eventually
from tests.datavolume_controller.conftest import RUNNING, Node, condition, ended


def test_an_import_goes_from_pending_to_succeeded(node: Node) -> None:
    node.apply(data_volume("disk"))
    node.until("Pending")
    node.bind()
    node.until("ImportScheduled")
    node.report(RUNNING)
    node.until("ImportInProgress")
    node.report(ended(0, '{"message":"Import Complete"}'), "Succeeded")
    done = node.until("Succeeded")
    assert done["status"]["progress"] == "100.0%"
    assert condition(done, "Ready") == ("True", "", "")
    assert condition(done, "Running") == ("False", "Completed", "Import Complete")
    assert meta.annotations(node.claim())[cdi.POD_PHASE] == "Succeeded"
    assert eventually(lambda: node.gone(POD, "importer-disk"))
