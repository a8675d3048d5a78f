"""A machine's disk becomes an image, and an image takes the place of another machine's disk."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.test_guests import diskyard
from tests.flows.yard import Yard, data_volume, machine


@pytest.fixture(scope="module")
def builder(yard: Yard, guest_url: str) -> Iterator[Yard]:
    """The yard, with a stopped machine `builder`."""
    yard.create(data_volume("builder", {"http": {"url": guest_url}}, "1Gi"))
    yard.create(machine("builder", "builder", strategy="Halted"))
    yard.wait("datavolumes", "builder", "Succeeded")
    yield yard
    yard.delete("virtualmachines", "builder")
    yard.gone("virtualmachines", "builder")


def source(yard: Yard, name: str) -> dict[str, dict[str, str]]:
    found = json.loads(diskyard(yard, "get", "datasource", name, "-o", "json").stdout)
    said: dict[str, dict[str, str]] = found["spec"]["source"]
    return said


def used(yard: Yard) -> str:
    found = json.loads(diskyard(yard, "get", "vm", "builder", "-o", "json").stdout)
    return str(found["spec"]["template"]["spec"]["volumes"][0]["dataVolume"]["name"])


def marked(path: Path, text: bytes) -> None:
    """Somebody has brought the disk to a state: its last bytes say which."""
    with path.open("r+b") as file:
        file.seek(-len(text), os.SEEK_END)
        file.write(text)


def mark(path: Path, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(-length, os.SEEK_END)
        return file.read()


def test_a_stopped_machines_disk_is_captured_and_put_into_its_place_again(builder: Yard) -> None:
    marked(builder.volume("builder") / "disk.img", b"prepared")
    done = diskyard(builder, "capture", "builder", "--to", "prepared")
    assert done.returncode == 0, done.stderr
    assert "datasource prepared stands for disk" in done.stdout
    assert "a copy: the guest is stopped" in done.stdout
    image = source(builder, "prepared")["pvc"]["name"]
    assert mark(builder.volume(image) / "disk.img", 8) == b"prepared"

    marked(builder.volume("builder") / "disk.img", b"worn out")
    volume = machine("builder", "builder")["spec"]["template"]["spec"]["volumes"][0]["name"]
    done = diskyard(builder, "replace", "builder", "--disk", volume, "--from", "prepared")

    assert done.returncode == 0, done.stderr
    assert used(builder).startswith(f"builder-{volume}-")
    assert mark(builder.volume(used(builder)) / "disk.img", 8) == b"prepared"
    assert mark(builder.volume("builder") / "disk.img", 8) == b"worn out"
    assert "The old one, builder, is kept: diskyard delete dv builder" in done.stdout


def test_a_running_machine_keeps_its_disk_and_its_image_is_a_snapshot(builder: Yard) -> None:
    diskyard(builder, "start", "builder")
    builder.until(
        "virtualmachines", "builder", lambda vm: vm["status"].get("printableStatus") == "Running", 120
    )

    refused = diskyard(builder, "replace", "builder", "--disk", "disk", "--from", "prepared")
    assert refused.returncode != 0
    assert "has no disk disk" in refused.stderr
    volume = machine("builder", "builder")["spec"]["template"]["spec"]["volumes"][0]["name"]
    before = used(builder)
    refused = diskyard(builder, "replace", "builder", "--disk", volume, "--from", before)
    assert "machine builder runs" in refused.stderr
    assert used(builder) == before

    done = diskyard(builder, "capture", "builder", "--to", "live")

    assert done.returncode == 0, done.stderr
    assert "no guest agent answers (AgentConnected): it was paused meanwhile" in done.stdout
    taken = source(builder, "live")["snapshot"]["name"]
    assert "true" in diskyard(builder, "get", "vs", taken, "-o", "json").stdout
    builder.until(
        "virtualmachines", "builder", lambda vm: vm["status"].get("printableStatus") == "Running", 120
    )
    diskyard(builder, "stop", "builder", "--grace-period", "0")


def test_what_cannot_be_captured_is_said_with_what_there_is(builder: Yard) -> None:
    for words, why in (
        (("capture", "nobody", "--to", "x"), '"nobody" not found'),
        (("capture", "builder", "--disk", "second", "--to", "x"), "has no disk second of a claim or DataVolume"),
        (("replace", "builder", "--disk", "second", "--from", "x"), "has no disk second of a claim or DataVolume"),
    ):  # fmt: skip
        done = diskyard(builder, *words)
        assert done.returncode != 0
        assert why in done.stderr
