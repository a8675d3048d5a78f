"""The demo as a newcomer runs it: it tells its story, and leaves nothing behind."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo import image

pytestmark = [pytest.mark.guest, pytest.mark.timeout(240)]


@pytest.fixture
def cache(tmp_path: Path, guest_image: Path) -> Path:
    """A cache of the test's own, which has the kernel already."""
    tmp_path.joinpath("kernel").symlink_to(image.CACHE / "kernel")
    return tmp_path


@contextmanager
def demo(cache: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "demo", "--once", "--payload", "0", "--cache", str(cache)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as running:
        try:
            yield running
        finally:
            running.send_signal(signal.SIGINT)


def processes_that_know(folder: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = process.joinpath("cmdline").read_bytes() + process.joinpath("environ").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in words:
            found.append(words.replace(b"\0", b" ").decode(errors="replace"))
    return found


def test_ends_with_the_guests_own_words_and_what_to_type_next(cache: Path) -> None:
    with demo(cache) as running:
        said = running.communicate()[0]

    assert running.returncode == 0, said
    assert "Hello from a guest of Diskyard." in said
    assert f"export KUBECONFIG={cache}/yard/kubeconfig" in said
    assert not processes_that_know(cache)
    assert not (cache / "yard").exists()


@pytest.mark.parametrize("moment", ["Run a yard", "ImportInProgress", "machine: Running"])
def test_ctrl_c_leaves_nothing_running(cache: Path, moment: str) -> None:
    with demo(cache) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if moment in line:
                break
        running.send_signal(signal.SIGINT)
        said = running.stdout.read()

    assert running.returncode == 130, said
    assert not processes_that_know(cache)
    assert not (cache / "yard").exists()
