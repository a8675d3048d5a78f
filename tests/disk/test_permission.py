"""What may not be written is told before anything is fetched: who asks, and whose it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from diskyard import linux
from diskyard.disk.permission import advice, check_writable
from diskyard.disk.target import Target
from diskyard.errors import Busy, InvalidRequest

NOBODY = 65534
CHECK = """
import sys
from pathlib import Path
from diskyard.disk.permission import check_writable
from diskyard.disk.target import Target
from diskyard.errors import InvalidRequest
try:
    check_writable(Target(Path(sys.argv[1])))
except InvalidRequest as error:
    print(error)
"""


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A folder that everyone may look into, and only its owner, who is not we, may write to."""
    if os.geteuid() != 0:
        pytest.skip("only root gives folders away")
    folder = tmp_path / "volume"
    folder.mkdir(mode=0o755)
    os.chown(folder, NOBODY, NOBODY)
    return folder


def said(path: Path) -> str:
    """What we are told without root's powers over the files of others."""
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", CHECK, str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_folder_of_someone_else_is_named_with_both_users(volume: Path) -> None:
    words = said(volume / "disk.img")

    assert f"cannot write in {volume}: it belongs to {NOBODY}:{NOBODY} with mode 0755" in words
    assert "this process is 0:0" in words


@pytest.mark.parametrize("kind", ["nfs", "nfs4"])
def test_on_nfs_the_options_of_the_export_are_named(kind: str) -> None:
    assert "all_squash,anonuid=107,anongid=108" in advice(kind, 107, 108)
    assert advice("ext4", 107, 107) == "Change its owner or mode"


def test_a_file_system_is_called_as_mount_does() -> None:
    assert linux.file_system(Path("/proc/self/status")) == "proc"
    assert linux.file_system(Path("/sys/kernel")) == "sysfs"


def test_what_another_user_s_transfer_has_left_is_named(volume: Path) -> None:
    volume.chmod(0o777)
    target = Target(volume / "disk.img")
    target.part.touch(mode=0o600)
    os.chown(target.part, NOBODY, NOBODY)

    assert f"cannot go on with {target.part}, which an interrupted transfer has left" in said(target.path)


def test_a_folder_of_one_s_own_passes(tmp_path: Path) -> None:
    check_writable(Target(tmp_path / "disk.img"))


def test_a_read_only_file_system_is_told_as_such(small: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)

    with pytest.raises(InvalidRequest, match="mounted read-only"):
        check_writable(Target(small / "disk.img"))


def test_a_device_that_someone_holds_is_busy(device: Path, tmp_path: Path) -> None:
    holder = os.open(device, os.O_RDONLY | os.O_EXCL)
    try:
        with pytest.raises(Busy, match="in use"):
            check_writable(Target(device, scratch=tmp_path))
    finally:
        os.close(holder)
    check_writable(Target(device, scratch=tmp_path))
