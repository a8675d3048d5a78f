"""The launcher's door: what it refuses before anything is started."""

import os
import subprocess
import sys

import pytest

from diskyard.api.job import LaunchJob
from diskyard.errors import InvalidRequest


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """The launcher, run by the present user with an empty environment."""
    command = [sys.executable, "-m", "vm_runtime.launcher", *arguments]
    return subprocess.run(
        command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
    )


def test_a_consumer_is_only_there() -> None:
    assert run("--consume").returncode == 0


def test_a_launcher_never_runs_as_root_nor_without_a_job() -> None:
    ended = run()

    why = "never runs as root" if os.getuid() == 0 else "needs LAUNCHER_NAMESPACE"
    assert ended.returncode == 1
    assert why in ended.stderr


def test_a_job_comes_back_from_its_environment() -> None:
    job = LaunchJob("default", "vm", "uid", accelerated=True)

    assert LaunchJob.from_env(job.to_env()) == job


def test_a_job_without_a_name_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="LAUNCHER_NAME, LAUNCHER_UID"):
        LaunchJob.from_env({"LAUNCHER_NAMESPACE": "default"})


def test_a_pod_that_cannot_hold_its_claim_ends_with_the_reason() -> None:
    """And is begun again by its node; the instance's volumeStatus says so meanwhile."""
    ended = run("--lend", "nothing-here", str(1 << 20))

    assert ended.returncode == 1
    assert "volume nothing-here: its disk cannot be opened: No such file or directory" in ended.stderr
