"""A container stays within its memory, by what the host allows, and its status says when it did not."""

from pathlib import Path

import pytest

from diskyard.api import meta
from diskyard.api.meta import NODE, Key
from standalone.node import sandbox
from standalone.node.memory import RLIMIT, V1, V2, memory
from standalone.node.sandbox import Host, Installation, Sandbox
from tests.builders import eventually
from tests.standalone.node.yard import Yard, python

LIMIT = {"resources": {"limits": {"memory": "64Mi"}}}
GREEDY = "import time; a = bytearray(200 << 20); print('took it'); time.sleep(1000)"
HERE = memory()
grouped = pytest.mark.skipif(HERE.folder is None, reason="control groups need root")


@grouped
def test_a_container_that_takes_too_much_is_killed_and_its_status_says_why(yard: Yard) -> None:
    yard.run(python("one", GREEDY, container=LIMIT))

    yard.until("one", "Failed")

    ended = yard.state("one")["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")
    assert "took it" not in yard.log("one")


@grouped
def test_a_container_within_its_limit_ends_as_it_likes_and_leaves_no_control_group(yard: Yard) -> None:
    yard.run(python("one", "import sys; sys.exit(3)", container=LIMIT))

    pod = yard.until("one", "Failed")

    ended = yard.state("one")["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (3, "Error")
    folder = HERE.folder or Path()
    eventually(lambda: not list(folder.glob(f"{meta.uid(pod)}*")))


def test_without_control_groups_each_process_is_limited() -> None:
    box = Sandbox(("true",), "box", memory=64 << 20)

    program = sandbox.program(box, Host(Installation((), "/usr/bin", "/usr/bin/python3"), root=False))

    assert program[:2] == ["prlimit", f"--data={64 << 20}"]


def test_the_node_says_how_limits_hold(yard: Yard) -> None:
    def said() -> str:
        node = yard.store.get(NODE, Key("here"))
        return str((meta.condition(node, "Ready") or {}).get("message"))

    assert str(HERE) in eventually(said)


def test_a_host_of_either_kind_is_known(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    for name in ("cgroup.controllers", "cgroup.subtree_control"):
        (tmp_path / "two" / name).touch()
    (tmp_path / "one" / "memory").mkdir(parents=True)
    (tmp_path / "one" / "memory" / "memory.limit_in_bytes").touch()

    found = [memory(tmp_path / name).how for name in ("two", "one", "none")]

    assert found == [V2, V1, RLIMIT]


def test_a_limit_is_written_in_the_words_of_either_kind(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").touch()
    first = memory(tmp_path).group("one", 4096)
    (tmp_path / "cgroup.controllers").touch()
    (tmp_path / "cgroup.subtree_control").touch()
    second = memory(tmp_path).group("one", 4096)

    assert first
    assert second
    assert (first / "memory.limit_in_bytes").read_text() == "4096"
    assert (second / "memory.max").read_text() == "4096"
