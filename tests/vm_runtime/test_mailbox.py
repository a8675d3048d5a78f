"""The directory between an agent and a launcher that it does not trust."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from diskyard.api.job import Report
from diskyard.api.meta import Key
from tests.builders import eventually
from vm_runtime.agent.mailbox import Mailbox
from vm_runtime.agent.observer import Observer
from vm_runtime.launcher.control import Control


@contextmanager
def launcher(directory: Path, stops: list[str]) -> Iterator[Control]:
    """A launcher's door, reached by a short path, as in its sandbox."""
    handle = os.open(directory, os.O_PATH)
    try:
        with Control(Path(f"/proc/self/fd/{handle}/control.sock"), lambda: stops.append("stop")) as control:
            yield control
    finally:
        os.close(handle)


def test_the_file_is_replaced_whole_and_is_its_owners_alone(tmp_path: Path) -> None:
    box = Mailbox(tmp_path)

    box.write(b"one")
    box.write(b"two")

    assert box.read() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["instance.json"]
    assert (tmp_path / "instance.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_file_is_the_launchers_though_the_directory_is_not_yet(tmp_path: Path) -> None:
    assert tmp_path.stat().st_uid == 0

    Mailbox(tmp_path).write(b"one")

    assert (tmp_path / "instance.json").stat().st_uid == 107


def test_a_link_in_place_of_the_file_is_replaced_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "instance.json").symlink_to(victim)
    box = Mailbox(tmp_path / "box")

    assert box.read() == b""
    box.write(b"instance")

    assert victim.read_bytes() == b"precious"
    assert box.read() == b"instance"


def test_a_link_in_place_of_the_directory_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "box").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match=r"Not a directory|symbolic"):
        Mailbox(tmp_path / "box").write(b"instance")
    assert not Mailbox(tmp_path / "box").there


def test_a_link_to_another_socket_is_not_connected_to(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "other.sock"))
        other.listen()
        (tmp_path / "control.sock").symlink_to(tmp_path / "other.sock")

        with pytest.raises(FileNotFoundError, match="is not a socket"):
            Mailbox(tmp_path).connect()


def test_an_observer_hears_the_present_report_and_each_that_follows(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)  # longer than a socket's address may be
    deep.mkdir()
    heard: list[Key] = []
    observer = Observer(heard.append)
    with launcher(deep, []) as control:
        observer.observe("uid", Key("pod", "default"), Mailbox(deep))
        eventually(lambda: observer.report("uid") == Report("Preparing"))

        control.publish(Report("Running", since="2026-11-21T12:00:00Z"))

        eventually(lambda: observer.report("uid") == Report("Running", since="2026-11-21T12:00:00Z"))
        eventually(lambda: heard == [Key("pod", "default")] * 2)
    observer.close()


def test_an_observer_finds_a_launcher_that_comes_later_or_again(tmp_path: Path) -> None:
    observer = Observer(lambda _: None)
    observer.observe("uid", Key("pod"), Mailbox(tmp_path))
    for state in ("Running", "Paused"):
        with launcher(tmp_path, []) as control:
            control.publish(Report(state))
            eventually(lambda: observer.report("uid") == Report(state))  # noqa: B023 - is over in this turn
    observer.close()


def test_a_door_takes_a_stop_and_tells_what_it_does_not_know(tmp_path: Path) -> None:
    stops: list[str] = []
    with launcher(tmp_path, stops), Mailbox(tmp_path).connect() as client, client.makefile("rb") as answers:
        client.sendall(b'{"do": "dance"}\nnot json\n{"do": "stop"}\n')

        assert "unknown request 'dance'" in json.loads(answers.readline())["error"]
        assert "unknown request ''" in json.loads(answers.readline())["error"]
        eventually(lambda: stops == ["stop"])


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"state": 3}', b"\xff"])
def test_a_line_that_makes_no_sense_is_no_report(line: bytes) -> None:
    assert Report.from_text(line) is None


def test_a_report_comes_back_as_it_was_said() -> None:
    said = Report("Paused", "PausedIOError", "the disk is full", "2026-11-21T12:00:00Z")

    assert Report.from_text(said.to_text()) == said
