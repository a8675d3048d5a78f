"""The door: quick, truthful about its commands, and clear in its exit codes."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from cli.__main__ import COMMANDS, HELP, Door, door, exit_code
from diskyard.errors import Busy, DiskyardError, InvalidRequest, NotFound

DISKYARD = Path(sys.executable).with_name("diskyard")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([DISKYARD, *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_the_command_says(name: str) -> None:
    assert isinstance(door, Door)
    command = door.get_command(click.Context(door), name)

    assert command is not None
    assert command.get_short_help_str(limit=100).removesuffix(".") == HELP[name].removesuffix(".")


def test_the_help_loads_nothing_heavy() -> None:
    code = "import sys, cli.__main__; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()

    assert not {"kubernetes", "yaml", "aiohttp", "rich", "cryptography", "ssl", "sqlite3"} & set(loaded)


def test_an_unknown_command_is_a_usage_error() -> None:
    said = run("aply")

    assert said.returncode == 2
    assert "No such command 'aply'" in said.stderr


@pytest.mark.parametrize(
    ("error", "code"), [(NotFound("no such thing"), 1), (InvalidRequest("wrong"), 3), (Busy("later"), 4)]
)
def test_the_exit_code_says_whether_trying_again_helps(error: DiskyardError, code: int) -> None:
    assert exit_code(error) == code
