"""Without root a sandbox is a user namespace: the same walls, and uid 107 is only another name for the user."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from standalone.node import process, sandbox, supervisor
from standalone.node.log import LogOptions, read
from standalone.node.sandbox import Bind, Host, Installation, Sandbox

PYTHON = Path("/usr/bin/python3")
NOBODY = 65534
HOST = Host(Installation((), "/usr/bin:/bin", str(PYTHON)), root=False)


@pytest.fixture
def life() -> Iterator[Path]:
    """A directory for a life, owned by an ordinary user; pytest's own directories are closed to them."""
    directory = Path(tempfile.mkdtemp())
    os.chown(directory, NOBODY, NOBODY)
    yield directory
    shutil.rmtree(directory)


def ran(directory: Path, script: str, *binds: Bind) -> process.End:
    box = Sandbox(("sh", "-c", script), "box", binds)
    spec = {
        "options": sandbox.options(box, HOST), "program": sandbox.program(box, HOST),
        "env": {"PATH": "/usr/bin:/bin"}, "grace": 5, "backoff": 0,
    }  # fmt: skip
    (directory / "0").mkdir()
    os.chown(directory / "0", NOBODY, NOBODY)
    (directory / "0" / "spec.json").write_text(json.dumps(spec))
    program = shutil.copy(supervisor.__file__, directory)  # only root may look into some checkouts
    subprocess.run(
        [PYTHON, "-I", "-S", program, directory / "0"],
        user=NOBODY, group=NOBODY, extra_groups=[], check=True, timeout=120,
    )  # fmt: skip
    life = process.observe(directory / "0")
    assert life
    assert life.end
    return life.end


def said(directory: Path) -> str:
    return b"".join(read(directory / "0", LogOptions(), lambda: False)).decode()


pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="as an ordinary user every other test says the same"),
    pytest.mark.skipif(not PYTHON.exists(), reason="needs a Python that every user may run"),
]


def test_the_program_is_user_107_without_capabilities(life: Path) -> None:
    end = ran(life, "id -u; id -g; grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status")

    assert end.code == 0, end
    assert said(life).split() == [
        "107", "107", "CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1",
    ]  # fmt: skip


def test_what_it_writes_belongs_to_the_user(life: Path) -> None:
    claim = life / "claim"
    claim.mkdir()
    os.chown(claim, NOBODY, NOBODY)

    end = ran(life, "echo bytes > /data/disk.img", Bind(claim, "/data", read_only=False, volume=True))

    assert end.code == 0, end
    assert (claim / "disk.img").stat().st_uid == NOBODY


def test_files_of_the_host_are_not_there(life: Path) -> None:
    end = ran(life, "cat /etc/passwd /etc/hostname /root/.profile; ls /home")

    assert end.code == 2
    assert "root:" not in said(life)
