"""What people type: kubectl's command lines, told to every server; and what it prints, in a form that can be compared.

A story is a sentence and its lines (`commands.txt`), in a namespace of its own; `PLACE` in a line stands for its name.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.exchange import Server

MANIFESTS = Path(__file__).with_name("manifests")
PATIENCE = 300
_FORMS = (
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "UID"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "TIME"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \+0000"), "TIME"),
    (re.compile(r"(was previously negative\))\n@@.*", re.DOTALL), r"\1\n"),
    (re.compile(r"(\w{3}, )?\d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}"), "TIME"),
    (re.compile(r"(Resource Version: +)\d+"), r"\1VERSION"),
    (re.compile(r"(resourceVersion:? ?\"?:? ?\"?)\d+"), r"\1VERSION"),
    (re.compile(r"https://127\.0\.0\.1:\d+"), "SERVER"),
    (re.compile(r"(?<![\w.])(\d+[dhms]){1,2}(?![\w.])"), "AGE"),
    (re.compile(r"/tmp/[-\w./]*/"), "FOLDER/"),
    (re.compile(r"\b10\.96\.\d+\.\d+\b|\b127\.33\.\d+\.\d+\b"), "ADDRESS"),
    (re.compile(r" +(?=\n|$)"), ""),
    (re.compile(r" {2,}"), "  "),
)
"""What differs from run to run: identities, times, revisions, places; and how wide the columns are in consequence."""


@dataclass(frozen=True)
class Said:
    """What a command ended with, and what it printed."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Kubectl:
    """A kubectl, and the server that it talks to."""

    program: Path
    server: Server
    home: Path
    """Where it keeps what it found out about a server."""

    def run(self, line: str, place: str) -> Said:
        """One command line, in that namespace."""
        words = shlex.split(line.replace("PLACE", place))
        settings = dict(one.split("=", 1) for one in words if re.match(r"[A-Z_]+=", one))
        words = [one for one in words if not re.match(r"[A-Z_]+=", one)]
        known = ["--kubeconfig", str(self.server.kubeconfig), "--namespace", place]
        env = {**os.environ, "HOME": str(self.home), "TZ": "UTC", "LANG": "C", **settings}
        done = subprocess.run(
            [self.program, *known, *words], cwd=MANIFESTS, env=env, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False,
        )  # fmt: skip
        return Said(done.returncode, _plain(done.stdout, place), _plain(done.stderr, place))

    def told(self, story: tuple[str, ...], place: str) -> list[Said]:
        """A whole story."""
        return [self.run(line, place) for line in story]


def _plain(text: str, place: str) -> str:
    text = text.replace(place, "PLACE")
    for pattern, instead in _FORMS:
        text = pattern.sub(instead, text)
    return "\n".join(_in_one_order([*_lines(text)]))


def _in_one_order(lines: list[str]) -> list[str]:
    """Causes of one refusal in one order: a real server goes through a schema's fields in any."""
    causes = iter(sorted(line for line in lines if line.startswith("* ")))
    return [next(causes) if line.startswith("* ") else line for line in lines]


def _lines(text: str) -> Iterator[str]:
    """The lines without those by which kubectl says how it goes on, and rulers whose length follows their column."""
    for line in text.splitlines():
        if not line.startswith(("I0", "I1", "E0", "E1", "W0", "W1")):
            yield line


def _stories(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for part in text.split("\n== ")[1:]:
        sentence, *lines = part.splitlines()
        yield sentence, tuple(line for line in lines if line and not line.startswith("#"))


STORIES: Mapping[str, tuple[str, ...]] = dict(_stories(Path(__file__).with_suffix(".txt").read_text()))
