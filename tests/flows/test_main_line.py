"""From a manifest to a disk that is exactly the image, and from there to a guest that speaks."""

import subprocess
from pathlib import Path
from typing import Any

from tests.builders import eventually
from tests.flows.place import Place
from tests.flows.yard import data_volume, machine
from tests.guest import GREETING
from tests.imageserver import ImageServer

ORDER = ["Pending", "ImportScheduled", "ImportInProgress", "Succeeded"]


def converted(image: Path, to: Path) -> Path:
    subprocess.run(["qemu-img", "convert", "-O", "raw", image, to], check=True)
    return to


def condition(obj: dict[str, Any], kind: str) -> tuple[str, str]:
    found = next(c for c in obj["status"]["conditions"] if c["type"] == kind)
    return found["status"], found.get("reason", "")


def test_the_disk_is_byte_for_byte_the_image_and_holes_are_holes(
    place: Place, images: ImageServer, qcow2: str, tmp_path: Path
) -> None:
    place.create(data_volume("exact", {"http": {"url": qcow2}}))

    place.wait("datavolumes", "exact", "Succeeded")

    disk = place.volume("exact") / "disk.img"
    expected = converted(images.root / "disk.qcow2", tmp_path / "expected.raw")
    assert disk.read_bytes()[: expected.stat().st_size] == expected.read_bytes()
    assert not disk.read_bytes()[expected.stat().st_size :].strip(b"\0")
    assert disk.stat().st_blocks * 512 <= expected.stat().st_blocks * 512 + (1 << 20)


def test_the_status_ends_as_clients_expect_it(place: Place, qcow2: str) -> None:
    place.create(data_volume("status", {"http": {"url": qcow2}}))

    done = place.wait("datavolumes", "status", "Succeeded")

    assert done["status"]["progress"] == "100.0%"
    assert done["status"]["claimName"] == "status"
    assert condition(done, "Bound") == ("True", "Bound")
    assert condition(done, "Running") == ("False", "Completed")
    assert condition(done, "Ready")[0] == "True"
    claim = place.core().read_namespaced_persistent_volume_claim("status", "default")
    assert claim.metadata.annotations["cdi.kubevirt.io/storage.pod.phase"] == "Succeeded"


def test_phases_are_seen_in_their_order(place: Place, qcow2: str) -> None:
    slowly = qcow2.replace("disk.qcow2", "crawl/disk.qcow2")  # else it may be over before anybody looks
    place.create(data_volume("phases", {"http": {"url": slowly}}))

    place.wait("datavolumes", "phases", "Succeeded")

    told = [event.split(":")[0] for event in place.events("phases")]
    assert {"ImportScheduled", "ImportInProgress", "ImportSucceeded"} <= set(told)


def test_a_blank_disk_has_the_size_that_was_asked_for(place: Place) -> None:
    place.create(data_volume("blank", {"blank": {}}, "100Mi"))

    place.wait("datavolumes", "blank", "Succeeded")

    disk = place.volume("blank") / "disk.img"
    assert disk.stat().st_size == 100 << 20
    assert disk.stat().st_blocks == 0


def test_a_guest_boots_from_an_imported_disk_and_powers_off(place: Place, guest_url: str) -> None:
    place.create(machine("guest", "guest-root", strategy="RerunOnFailure"))
    place.create(data_volume("guest-root", {"http": {"url": guest_url}}, "1Gi"))

    said = place.console_says("guest", GREETING.decode())
    running = place.until("virtualmachines", "guest", lambda vm: vm["status"].get("ready") is True)
    place.patch("virtualmachines", "guest", {"spec": {"runStrategy": "Halted"}})
    place.gone("virtualmachineinstances", "guest", 120)
    stopped = place.until("virtualmachines", "guest", lambda vm: not vm["status"].get("created", False))

    assert said
    assert running["status"]["printableStatus"] == "Running"
    assert stopped["status"]["printableStatus"] == "Stopped"


def test_deleting_a_data_volume_takes_its_claim_and_its_bytes(place: Place) -> None:
    place.create(data_volume("short-lived", {"blank": {}}))
    place.wait("datavolumes", "short-lived", "Succeeded")
    volume = place.volume("short-lived")

    place.delete("datavolumes", "short-lived")

    place.gone("datavolumes", "short-lived")
    eventually(lambda: not volume.exists())
