"""A machine's disk becomes an image, and an image takes the place of another machine's disk."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.capture import captured
from cli.replace import replaced
from diskyard.api import meta
from diskyard.api.meta import DATA_SOURCE, MACHINE, SNAPSHOT, Key
from diskyard.api.snapshot import ready
from diskyard.errors import InvalidRequest, NotFound
from diskyard.kube.http import HttpClient, connect
from tests.flows.test_guests import diskyard
from tests.flows.yard import Yard, data_volume, machine
from tests.guest import GREETING

BUILDER = Key("builder", "default")
VOLUME = str(machine("builder", "builder")["spec"]["template"]["spec"]["volumes"][0]["name"])


@pytest.fixture(scope="module")
def builder(yard: Yard, guest_url: str) -> Iterator[Yard]:
    """The yard, with a stopped machine `builder`."""
    yard.create(data_volume("builder", {"http": {"url": guest_url}}, "1Gi"))
    yard.create(machine("builder", "builder", strategy="Halted"))
    yard.wait("datavolumes", "builder", "Succeeded")
    yield yard
    yard.delete("virtualmachines", "builder")
    yard.gone("virtualmachines", "builder")


@pytest.fixture
def server(builder: Yard) -> Iterator[HttpClient]:
    found = connect(builder.directory / "kubeconfig")
    yield found
    found.close()


def source(server: HttpClient, name: str) -> dict[str, Any]:
    found: dict[str, Any] = meta.spec(server.get(DATA_SOURCE, Key(name, "default")))["source"]
    return found


def used(server: HttpClient) -> str:
    template = meta.spec(server.get(MACHINE, BUILDER))["template"]
    return str(template["spec"]["volumes"][0]["dataVolume"]["name"])


def marked(path: Path, text: bytes) -> None:
    """Somebody has brought the disk to a state: its last bytes say which."""
    with path.open("r+b") as file:
        file.seek(-len(text), os.SEEK_END)
        file.write(text)


def mark(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        return file.read()


def becomes(yard: Yard, word: str) -> None:
    yard.until("virtualmachines", "builder", lambda vm: vm["status"].get("printableStatus") == word, 120)


def test_a_stopped_machines_disk_is_captured_and_put_into_its_place_again(
    builder: Yard, server: HttpClient
) -> None:
    marked(builder.volume("builder") / "disk.img", b"prepared")
    done = diskyard(builder, "capture", "builder", "--to", "prepared")
    assert done.returncode == 0, done.stderr
    assert f"datasource prepared stands for disk {VOLUME} of builder" in done.stdout
    assert "a copy: the guest is stopped" in done.stdout
    image = str(source(server, "prepared")["pvc"]["name"])
    assert mark(builder.volume(image) / "disk.img") == b"prepared"

    further = data_volume("further", {}, "1Gi", sourceRef={"kind": "DataSource", "name": "prepared"})
    del further["spec"]["source"]
    builder.create(further)
    builder.wait("datavolumes", "further", "Succeeded")
    assert mark(builder.volume("further") / "disk.img") == b"prepared"

    marked(builder.volume("builder") / "disk.img", b"worn out")
    said: list[str] = []
    replaced(server, BUILDER, VOLUME, "prepared", said.append)

    assert used(server).startswith(f"builder-{VOLUME}-")
    assert mark(builder.volume(used(server)) / "disk.img") == b"prepared"
    assert mark(builder.volume("builder") / "disk.img") == b"worn out"
    assert "The old one, builder, is kept: diskyard delete dv builder" in said[-1]


def test_a_running_machine_keeps_its_disk_and_its_image_is_a_snapshot(
    builder: Yard, server: HttpClient
) -> None:
    """Whichever disk it has by now, its own or one that was put into its place."""
    captured(server, BUILDER, None, "running", print)
    copy = str(source(server, "running")["pvc"]["name"])
    server.patch(MACHINE, BUILDER, {"spec": {"runStrategy": "Always"}})
    becomes(builder, "Running")
    builder.console_says("builder", GREETING.decode())
    before, said = used(server), list[str]()

    with pytest.raises(InvalidRequest, match="machine builder runs"):
        replaced(server, BUILDER, VOLUME, before, said.append)
    assert used(server) == before
    captured(server, BUILDER, None, "running", said.append)

    assert "no guest agent answers (AgentConnected): it was paused meanwhile" in said[-2]
    assert (
        f"pvc default/{copy}, which it stood for before, is kept. Back to it: diskyard rollback running; "
        f"without it: diskyard delete dv {copy}"
    ) == said[-1]
    taken = str(source(server, "running")["snapshot"]["name"])
    assert ready(server.get(SNAPSHOT, Key(taken, "default")))
    back = diskyard(builder, "rollback", "running")
    assert (back.returncode, back.stdout) == (0, f"datasource running stands for pvc {copy} again\n")
    assert source(server, "running") == {"pvc": {"namespace": "default", "name": copy}}
    becomes(builder, "Running")
    server.patch(MACHINE, BUILDER, {"spec": {"runStrategy": "Halted"}})


def test_what_cannot_be_captured_is_said_with_what_there_is(server: HttpClient) -> None:
    with pytest.raises(NotFound, match='"nobody" not found'):
        captured(server, Key("nobody", "default"), None, "x", print)
    with pytest.raises(
        InvalidRequest, match=f"has no disk second of a claim or DataVolume; it has: {VOLUME}"
    ):
        captured(server, BUILDER, "second", "x", print)
    with pytest.raises(InvalidRequest, match="has no disk second of a claim or DataVolume"):
        replaced(server, BUILDER, "second", "x", print)
