"""The yard dies by kill -9; its pods do not, and the next yard knows the truth about each."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from diskyard.api import meta
from diskyard.api.meta import CLAIM, POD, Key
from diskyard.kube.client import Deletion
from standalone.node import process
from standalone.store.objects import Objects
from tests import builders
from tests.builders import eventually
from tests.standalone.node.yard import opened, shell

YARD = """
import pathlib, sys
from tests.standalone.node.yard import Yard
yard = Yard(pathlib.Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.read()
"""
WAIT_FOR_FILE = "echo up; while ! test -e /data/go; do sleep 0.05; done; echo went; exit 5"
MOUNT = {"volumeMounts": [{"name": "d", "mountPath": "/data"}]}
VOLUMES = [{"name": "d", "persistentVolumeClaim": {"claimName": "disk"}}]


def life_of(path: Path, name: str) -> Path:
    homes = [p.parent for p in (path / "pods").glob("*/pod.json") if f'"{name}"' in p.read_text()]
    return homes[0] / "containers" / "main" / "0"


def over(pid: int) -> bool:
    """Whether a process has ended; whoever inherited it may not have buried it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1].startswith("Z")
    except (FileNotFoundError, ProcessLookupError):
        return True


def started_and_killed(path: Path) -> None:
    """Run a yard in a process of its own until its pod `one` waits; then kill that process."""
    command = [sys.executable, "-c", YARD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "ready\n"
        eventually(lambda: any((path / "pods").glob("*/containers/main/0/log")))
        eventually(lambda: "up" in (life_of(path, "one") / "log").read_text())
        other.kill()


def prepared(path: Path) -> Path:
    """A directory whose store has a bound claim and a pod that nobody runs yet; gives the claim's volume."""
    with opened(path) as yard:
        yard.store.create(CLAIM, builders.claim("disk"))
        eventually(lambda: meta.phase(yard.store.get(CLAIM, Key("disk", "default"))) == "Bound")
        yard.controllers.stop()
        yard.store.create(POD, shell("one", WAIT_FOR_FILE, container=MOUNT, volumes=VOLUMES))
    return next((path / "volumes").iterdir())


def test_a_pod_runs_on_and_is_found_again(tmp_path: Path) -> None:
    volume = prepared(tmp_path)
    started_and_killed(tmp_path)

    with opened(tmp_path) as yard:
        yard.until("one", "Running")
        (volume / "go").touch()
        yard.until("one", "Failed")

        assert yard.container("one")["restartCount"] == 0
        assert yard.state("one")["terminated"]["exitCode"] == 5
        assert yard.log("one") == "up\nwent\n"


def test_a_pod_that_ended_meanwhile_has_its_true_end(tmp_path: Path) -> None:
    volume = prepared(tmp_path)
    started_and_killed(tmp_path)
    (volume / "go").touch()
    eventually(lambda: not process.holder(life_of(tmp_path, "one")))

    with opened(tmp_path) as yard:
        yard.until("one", "Failed")

        assert yard.state("one")["terminated"]["exitCode"] == 5


def test_a_pod_whose_end_nobody_saw_is_said_to_be_lost(tmp_path: Path) -> None:
    prepared(tmp_path)
    started_and_killed(tmp_path)
    os.kill(process.holder(life_of(tmp_path, "one")), signal.SIGKILL)
    eventually(lambda: not process.holder(life_of(tmp_path, "one")))

    with opened(tmp_path) as yard:
        yard.until("one", "Failed")

        ended = yard.state("one")["terminated"]
        assert (ended["exitCode"], ended["reason"]) == (255, "Unknown")
        assert "was stopped without notice" in ended["message"]


def test_a_stop_that_was_written_and_not_sent_is_sent(tmp_path: Path) -> None:
    prepared(tmp_path)
    started_and_killed(tmp_path)
    (life_of(tmp_path, "one") / "grace").write_text("0.1")
    with Objects.open(tmp_path / "store.db") as store:
        store.delete(POD, Key("one", "default"), Deletion(grace=1))

    with opened(tmp_path) as yard:
        eventually(lambda: yard.gone("one"))


def test_a_pod_deleted_by_force_meanwhile_is_killed(tmp_path: Path) -> None:
    prepared(tmp_path)
    started_and_killed(tmp_path)
    holder = process.holder(life_of(tmp_path, "one"))
    with Objects.open(tmp_path / "store.db") as store:
        store.delete(POD, Key("one", "default"), Deletion(grace=0))

    with opened(tmp_path):
        eventually(lambda: not list((tmp_path / "pods").iterdir()))

    eventually(lambda: over(holder))
