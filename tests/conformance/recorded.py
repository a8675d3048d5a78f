"""What a real kube-apiserver answered to every story: `recorded/`, one file for each chapter.

`make record` asks one again and writes them anew.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.cluster.server import cluster
from tests.conformance import servers
from tests.conformance.chapters import CHAPTERS, told
from tests.conformance.exchange import Line

FOLDER = Path(__file__).with_name("recorded")


def recorded(chapter: str) -> dict[str, Any]:
    """The answers to every story of a chapter."""
    found: dict[str, Any] = json.loads((FOLDER / f"{chapter}.json").read_text())
    return found


def main() -> int:
    """Tell every story to a real server, and keep what it says."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder)) as running:
        line = Line(servers.theirs(running))
        for chapter, stories in CHAPTERS.items():
            answers = {sentence: told(line, story) for sentence, story in stories.items()}
            (FOLDER / f"{chapter}.json").write_text(json.dumps(answers, indent=1, sort_keys=True) + "\n")
            print(f"{chapter}: {len(answers)} stories")
        line.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
