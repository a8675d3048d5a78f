"""No upload needs a claim for scratch beside its own."""

import os
from pathlib import Path

from tests.flows.test_upload import holds, uploaded
from tests.flows.yard import Yard


def test_an_iso_needs_one_claim_and_one_volume(yard: Yard, tmp_path: Path) -> None:
    """C-05: no event ever speaks of a scratch claim, or of a pod that waits for one."""
    disc = bytearray(os.urandom(10 << 20))
    disc[0x8001:0x8006] = b"CD001"
    (tmp_path / "win10.iso").write_bytes(disc)

    done = uploaded(
        yard, f"--image-path={tmp_path / 'win10.iso'}", "--pvc-name=iso-c05", "--pvc-size=64M",
        "--storage-class=local", "--wait-secs=240",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert holds(yard, "iso-c05", tmp_path / "win10.iso")
    yard.told("iso-c05", "UploadSucceeded: Upload Successful")
    core = yard.core()
    told = core.list_namespaced_event("default").items
    about = [event for event in told if "c05" in f"{event.involved_object.name} {event.message}"]
    assert about
    assert not [
        event.message for event in about if "scratch" in f"{event.involved_object.name} {event.message}"
    ]
    assert not [event.message for event in about if event.reason == "FailedScheduling"]
    claims = core.list_namespaced_persistent_volume_claim("default").items
    assert [each.metadata.name for each in claims if "c05" in each.metadata.name] == ["iso-c05"]
    volumes = core.list_persistent_volume().items
    assert len([each for each in volumes if each.spec.claim_ref and "c05" in each.spec.claim_ref.name]) == 1
