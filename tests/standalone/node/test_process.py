"""A container's life is in its directory: started once, told apart from every other process, ended as a whole."""

import fcntl
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from standalone.node import process, sandbox, supervisor
from standalone.node.exits import Exits
from standalone.node.log import LogOptions, read
from standalone.node.process import Order
from standalone.node.sandbox import Sandbox
from tests.builders import eventually

HOST = sandbox.host()


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Path]:
    """A directory for a life; whatever runs in it is killed after the test."""
    directory = tmp_path / "0"
    yield directory
    if directory.exists():
        process.stop(directory, 0)
        eventually(lambda: not process.holder(directory))


def order(*command: str, grace: float = 30, env: dict[str, str] | None = None) -> Order:
    box = Sandbox(command, "box")
    environment = sandbox.environment(HOST) | (env or {})
    return Order(sandbox.options(box, HOST), sandbox.program(box, HOST), environment, grace, 0)


def begin(directory: Path, what: Order) -> None:
    process.start(directory, what).bury()


def ended(directory: Path) -> process.End:
    def end() -> process.End | None:
        found = process.observe(directory)
        return found.end if found else None

    found = eventually(end)
    assert found
    return found


def said(directory: Path) -> str:
    return b"".join(read(directory, LogOptions(), lambda: False)).decode()


def test_a_life_that_was_never_ordered_is_unknown(tmp_path: Path) -> None:
    assert process.observe(tmp_path / "0") is None


def test_the_exit_code_is_kept(life: Path) -> None:
    begin(life, order("sh", "-c", "exit 42"))

    assert (ended(life).code, ended(life).reason) == (42, "Error")


def test_a_command_that_does_not_exist_says_so(life: Path) -> None:
    begin(life, order("no-such-program"))

    assert ended(life).code == 127
    assert said(life) == "cannot run 'no-such-program': No such file or directory\n"


def test_a_sandbox_that_cannot_be_built_is_a_start_error(life: Path) -> None:
    whole = order("true")
    missing = Order([*whole.options, "--bind", "/no/such/place", "/data"], whole.program, whole.env, 0, 0)

    begin(life, missing)

    assert (ended(life).code, ended(life).reason) == (128, "StartError")
    assert "/no/such/place" in ended(life).message


def test_starting_twice_runs_once(life: Path) -> None:
    for _ in range(2):
        begin(life, order("sh", "-c", "echo ran; sleep 1000"))

    eventually(lambda: said(life))
    assert said(life) == "ran\n"


def test_a_life_that_is_over_does_not_begin_again(life: Path) -> None:
    begin(life, order("echo", "ran"))
    ended(life)

    begin(life, order("echo", "ran"))

    assert said(life) == "ran\n"


def test_a_reused_process_id_is_nobody(life: Path) -> None:
    begin(life, order("true"))
    ended(life)
    eventually(lambda: not process.holder(life))

    with pytest.raises(ProcessLookupError):
        process.opened(life)


def test_the_environment_is_exactly_what_was_ordered(life: Path) -> None:
    begin(life, order("env", env={"A": "1 2\n3", "LD_PRELOAD": "/nowhere.so"}))

    ended(life)
    assert "A=1 2\n3" in said(life)
    assert "DISKYARD" not in said(life)


def test_no_variable_reaches_what_runs_with_rights(life: Path) -> None:
    begin(life, order("sleep", "1000", env={"LD_PRELOAD": "/nowhere.so"}))

    keeper = process.holder(life)
    children = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
    environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in (keeper, *map(int, children))]
    assert not any(b"LD_PRELOAD" in environment for environment in environments)


def test_sigterm_reaches_the_main_process(life: Path) -> None:
    process.start(
        life, order("sh", "-c", "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done")
    )
    eventually(lambda: "up" in said(life))

    process.stop(life, 30)

    assert ended(life).code == 7
    assert said(life) == "up\nbye\n"


def test_who_does_not_listen_is_killed_after_the_grace(life: Path) -> None:
    begin(life, order("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"))
    eventually(lambda: "up" in said(life))

    process.stop(life, 0.2)

    assert ended(life).code == 137


def test_a_second_stop_shortens_the_grace(life: Path) -> None:
    begin(life, order("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"))
    eventually(lambda: "up" in said(life))
    process.stop(life, 1000)

    process.stop(life, 0)

    assert ended(life).code == 137


def free(path: Path) -> bool:
    """Whether nobody holds that file locked."""
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_everything_ends_with_its_supervisor(life: Path) -> None:
    told = threading.Event()
    exits = Exits()
    begin(life, order("sleep", "1000"))
    exits.watch(life, told.set)

    os.kill(process.holder(life), signal.SIGKILL)

    assert told.wait(60)
    assert free(life / "sandbox")
    assert (ended(life).code, ended(life).reason) == (255, "Unknown")
    exits.close()


def test_what_a_supervisor_killed_too_early_leaves_is_found_and_killed(life: Path) -> None:
    begin(life, order("sleep", "1000"))
    os.kill(process.holder(life), signal.SIGKILL)
    eventually(lambda: not process.holder(life))

    process.bury(life)

    assert free(life / "sandbox")


def test_the_container_has_no_open_file_of_the_host(life: Path) -> None:
    begin(life, order("sh", "-c", "ls /proc/self/fd; ls /proc/$$/fd"))

    ended(life)
    assert set(said(life).split()) == {"0", "1", "2", "3"}  # 3: the directory that ls itself reads


def test_the_end_of_a_process_is_told_at_once(life: Path) -> None:
    told = threading.Event()
    exits = Exits()
    begin(life, order("sleep", "0.2"))

    assert exits.watch(life, told.set)

    assert told.wait(60)
    assert ended(life).code == 0
    assert not exits.watch(life, told.set)
    exits.close()


def test_a_supervisor_is_small(life: Path) -> None:
    begin(life, order("sleep", "1000"))

    status = Path(f"/proc/{process.holder(life)}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))
    assert resident < 8 << 10


def test_a_long_log_is_rotated_and_bounded(life: Path) -> None:
    line = "x" * 999
    count = 3 * supervisor.ROTATE_AT // 1000
    begin(life, order("sh", "-c", f"yes {line} | head -n {count}; echo last"))

    ended(life)

    assert (life / "log").stat().st_size + (life / "log.1").stat().st_size <= 2 * supervisor.ROTATE_AT
    assert said(life).endswith("last\n")


def test_a_broken_pipe_ends_a_program_without_a_word(life: Path) -> None:
    begin(life, order("sh", "-c", "yes | head -n 1"))

    ended(life)
    assert said(life) == "y\n"


def test_a_line_without_an_end_is_kept_as_it_is(life: Path) -> None:
    begin(life, order("printf", "login: "))

    ended(life)

    assert said(life) == "login: "


def test_the_order_can_be_read_by_its_owner_only(life: Path) -> None:
    begin(life, order("true", env={"PASSWORD": "hush"}))

    assert json.loads((life / "spec.json").read_text())["env"]["PASSWORD"] == "hush"
    assert (life / "spec.json").stat().st_mode & 0o077 == 0
    ended(life)
