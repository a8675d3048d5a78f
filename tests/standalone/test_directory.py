"""A data directory has one owner at a time, and no older program touches a newer one."""

import subprocess
import sys
from pathlib import Path

import pytest

from diskyard.errors import Busy, InvalidRequest
from standalone.directory import Directory, Hold

TAKE_AND_WAIT = """
import sys, pathlib
from standalone.directory import Directory, Hold
hold = Hold.take(Directory(pathlib.Path(sys.argv[1])))
print("held", flush=True)
sys.stdin.read()
"""


def taken_by_another(path: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", TAKE_AND_WAIT, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_yard_is_refused_with_the_process_id_of_the_first(tmp_path: Path) -> None:
    with taken_by_another(tmp_path / "yard") as first:
        with pytest.raises(Busy, match=f"process {first.pid}"):
            Hold.take(Directory(tmp_path / "yard"))
        first.kill()


def test_a_yard_that_was_killed_leaves_its_directory_free(tmp_path: Path) -> None:
    with taken_by_another(tmp_path / "yard") as first:
        first.kill()

    Hold.take(Directory(tmp_path / "yard")).close()


def test_a_directory_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("7\n")

    with pytest.raises(InvalidRequest, match="newer Diskyard: its version is '7', this one reads up to 1"):
        Hold.take(Directory(tmp_path))

    assert (tmp_path / "version").read_text() == "7\n"


def test_a_directory_that_is_a_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "yard").write_text("")

    with pytest.raises(InvalidRequest, match="yard"):
        Hold.take(Directory(tmp_path / "yard"))


def test_keys_are_for_the_owner_only(tmp_path: Path) -> None:
    directory = Directory(tmp_path / "yard")

    Hold.take(directory).close()

    assert directory.pki.stat().st_mode & 0o777 == 0o700
    assert list(directory.pki.iterdir()) == []
