"""What docs/api.md tells to type, typed: by bash, curl and a real kubectl."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.cluster import programs
from tests.flows.yard import Yard, machine

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
PAGE = Path(__file__).parents[2] / "docs/api.md"
STATE = "kubectl wait vm/web --timeout=240s --for=jsonpath={.status.printableStatus}="


def test_the_commands_of_the_page_work_one_after_the_other(yard: Yard, tmp_path: Path) -> None:
    getting_in, (make, follow, stop), (role, binding, scrape) = blocks()
    (tmp_path / "machine.yaml").write_text(yaml.safe_dump(web()))
    script = [
        *getting_in, make, f"{STATE}Running", follow, role, binding, scrape, stop, f"{STATE}Stopped",
    ]  # fmt: skip

    said = typed(yard, tmp_path, script)

    assert '"type":"ADDED"' in said
    assert 'kubevirt_vmi_memory_domain_bytes{name="web"' in said
    made = (
        "vm/web serviceaccount/front-end rolebinding/front-end clusterrole/metrics clusterrolebinding/metrics"
    )
    typed(yard, tmp_path, [f"kubectl delete {made}"])


def blocks() -> list[list[str]]:
    """The commands of the page, block by block."""
    return [
        block.splitlines()
        for block in re.findall(r"^```\n(.*?)\n```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    ]


def web() -> dict[str, object]:
    """A machine that can be started and stopped, and has nothing to run."""
    made = machine("web", "unused")
    spec = made["spec"]["template"]["spec"]
    spec["terminationGracePeriodSeconds"] = 0
    spec["volumes"] = [{"name": "root", "emptyDisk": {"capacity": "8Mi"}}]
    return made


def typed(yard: Yard, folder: Path, lines: list[str]) -> str:
    """What the commands say, each of which has to work."""
    path = f"{programs.built()}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", "\n".join(lines)],
        cwd=folder,
        env={**os.environ, "KUBECONFIG": str(yard.kubeconfig), "PATH": path},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout
