"""The chart as Helm renders it."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.programs import HELM, installed

CHART = Path(__file__).parents[2] / "charts" / "diskyard"


def helm(*arguments: str) -> str:
    """What Helm says; its complaint in the failure."""
    program = installed("helm", HELM)
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rendered(*values: str, crds: bool = False) -> list[dict[str, Any]]:
    """The chart's objects for the namespace `cdi`, with these values (`a.b=c`)."""
    sets = [word for value in values for word in ("--set", value)]
    text = helm(
        "template",
        "diskyard",
        str(CHART),
        "--namespace",
        "cdi",
        "--kube-version",
        "1.34.0",
        *sets,
        *(["--include-crds"] if crds else []),
    )
    return [each for each in yaml.safe_load_all(text) if each]
