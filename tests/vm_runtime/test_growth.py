"""How large a disk is to be and is: what its claim gives it, and what the status says. In a guest: test_plugs.py."""

from diskyard.api.instance import instance as read
from diskyard.api.job import Report
from diskyard.api.names import kubevirt
from tests.vm_runtime.test_decisions import NOW, RUNS, asked, claim, known, pod
from vm_runtime.controller import phases
from vm_runtime.controller.supply import claim_info


def test_how_large_a_disk_is_and_why_it_is_small_is_said_with_its_volume() -> None:
    obj, instance = known()
    found = pod("Running", "Running", **RUNS)
    said = Report("Running", sizes={"root": 5 << 20, "gone": 1}, small={"root": "there is no room"}).to_text()
    found["metadata"]["annotations"] = {kubevirt.DOMAIN_REPORT: said}

    status = phases.status(phases.Subject(obj, instance, (), found), phases.of_pod(obj, found), NOW)

    (entry,) = status["volumeStatus"]
    assert (entry["name"], entry["size"]) == ("root", 5 << 20)
    assert (entry["reason"], entry["message"]) == ("ToleratedSmallPV", "there is no room")


def test_a_disk_gets_no_more_than_its_claim_asked_for_however_large_its_volume_is() -> None:
    info = {**claim_info(claim(), "0"), "capacity": {"storage": "100Gi"}}

    found = read(
        {**asked(), "status": {"volumeStatus": [{"name": "root", "persistentVolumeClaimInfo": info}]}}
    )

    assert found.claims["root"].most == 1 << 30


def test_what_a_launcher_says_of_sizes_is_whole_numbers_that_the_wire_can_carry() -> None:
    said = Report("Running", sizes={"root": 10**30, "more": 1 << 20})

    read_again = Report.from_text(said.to_text())

    assert read_again is not None
    assert read_again.sizes == {"root": (1 << 63) - 1, "more": 1 << 20}
    assert Report.from_text('{"state": "Running", "sizes": {"root": "1", "more": -1}}') == Report(
        "Running", sizes={"root": 0, "more": 0}
    )
