"""A transfer's progress where there is no terminal."""

import pytest

from cli.display import step
from cli.progress import Lines
from diskyard.disk.target import Limit, Progress


def test_says_what_limits(capsys: pytest.CaptureFixture[str]) -> None:
    Lines("images.example").show(Progress("transferring", 450, 1000, 900, 45.0, Limit.CPU))

    assert capsys.readouterr().err.endswith(", the processor limits\n")


def test_says_whom_it_waits_for(capsys: pytest.CaptureFixture[str]) -> None:
    Lines("images.example").show(Progress("transferring", 450, 1000, limit=Limit.SOURCE, still=73.4))

    assert capsys.readouterr().err == "waiting for images.example for 73 s\n"


def test_a_step_is_said_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    step("Look at setup[bold].iso")

    assert capsys.readouterr().out == "==> Look at setup[bold].iso\n"
