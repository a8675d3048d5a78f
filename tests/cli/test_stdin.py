"""`diskyard import -`: what comes through a pipe becomes a disk, and a person at a terminal is told."""

import base64
import gzip
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders import eventually
from tests.disk.images import MIB, converted, crowded, left_behind, put_last, raw, same

DOOR = [sys.executable, "-m", "cli"]


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return raw(tmp_path_factory.mktemp("images") / "disk.raw")


def piped(body: bytes, *arguments: object) -> "subprocess.CompletedProcess[bytes]":
    command = [*DOOR, *map(str, arguments)]
    return subprocess.run(command, input=body, check=False, capture_output=True, timeout=120)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
@pytest.mark.parametrize("kind", ["raw", "qcow2", "vdi"])
def test_standard_input_becomes_a_disk(
    disk: Path, tmp_path: Path, kind: str, pack: Callable[[bytes], bytes]
) -> None:
    image = converted(disk, tmp_path / "image", kind)

    done = piped(pack(image.read_bytes()), "import", "-", tmp_path / "disk.img")

    assert done.returncode == 0, done.stderr
    assert same(disk, tmp_path / "disk.img")
    assert left_behind(tmp_path) == ["disk.img", "image"]


def test_an_inspection_reads_no_more_than_it_needs(disk: Path) -> None:
    done = piped(disk.read_bytes(), "inspect", "-", "-o", "json")

    said = json.loads(done.stdout)
    assert (said["source"], said["importable"], said["ranged"]) == ("standard input", True, False)


def test_an_image_that_is_cut_short_leaves_nothing(disk: Path, tmp_path: Path) -> None:
    image = converted(disk, tmp_path / "image", "qcow2")

    done = piped(image.read_bytes()[:-500_000], "import", "-", tmp_path / "disk.img")

    assert done.returncode == 3
    assert b"damaged or cut short" in done.stderr
    assert left_behind(tmp_path) == ["image"]


def test_a_terminal_is_no_image(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    command = [*DOOR, "import", "-", str(tmp_path / "disk.img")]
    done = subprocess.run(command, stdin=follower, check=False, capture_output=True, text=True, timeout=60)
    os.close(leader)
    os.close(follower)

    assert done.returncode == 3
    assert "found a terminal" in done.stderr


def test_ctrl_c_does_not_wait_for_a_pipe_that_says_nothing(disk: Path, tmp_path: Path) -> None:
    command = [*DOOR, "import", "-", str(tmp_path / "disk.img")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin
        process.stdin.write(disk.read_bytes()[: 9 << 20])
        process.stdin.flush()
        eventually((tmp_path / ".disk.img.part").exists, 60)
        process.send_signal(signal.SIGINT)

        assert process.wait(60) == 130
    assert left_behind(tmp_path) == []


def test_an_image_whose_tables_lie_behind_its_data_is_read_once(tmp_path: Path) -> None:
    words = tmp_path / "words.raw"
    words.write_bytes(base64.b64encode(os.urandom(18 * MIB)))
    image = converted(words, tmp_path / "image", "qcow2", "-c")
    put_last(image)

    done = piped(image.read_bytes(), "import", "-", tmp_path / "disk.img")

    assert done.returncode == 0, done.stderr
    assert same(words, tmp_path / "disk.img")
    assert left_behind(tmp_path) == ["disk.img", "image", "words.raw"]


def test_an_image_that_has_to_be_read_twice_is_refused_with_what_to_do(tmp_path: Path) -> None:
    image = crowded(tmp_path)

    done = piped(image.read_bytes(), "import", "-", tmp_path / "disk.img")

    assert done.returncode == 3
    assert b"write it to a file and import that" in done.stderr
    assert left_behind(tmp_path) == ["image.qcow2", "words.raw"]
