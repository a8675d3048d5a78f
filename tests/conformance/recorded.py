"""What a real kube-apiserver answered to every story: `recorded/`, one file for each chapter; and where ours differs.

`make record` asks both again and writes them anew. `recorded/ours.json` has what ours answers where it differs on
purpose (`differences.py`), and nothing else.
"""

import json
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.cluster.server import cluster
from tests.conformance import servers
from tests.conformance.chapters import CHAPTERS, told
from tests.conformance.differences import apart
from tests.conformance.exchange import Line

FOLDER = Path(__file__).with_name("recorded")


def recorded(chapter: str) -> dict[str, Any]:
    """The answers to every story of a chapter."""
    found: dict[str, Any] = json.loads((FOLDER / f"{chapter}.json").read_text())
    return found


def otherwise(chapter: str, sentence: str) -> dict[int, Any]:
    """What ours answers to those requests of a story that it answers otherwise than a real server."""
    found = json.loads((FOLDER / "ours.json").read_text()).get(f"{chapter}: {sentence}", {})
    return {int(index): answer for index, answer in found.items()}


def main() -> int:
    """Tell every story to both servers, and keep what they say."""
    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        servers.ours(Path(folder)) as ours,
        closing(Line(ours)) as line,
    ):
        own = {
            f"{chapter}: {sentence}": {str(i): one for i, one in enumerate(told(line, story)) if i in chosen}
            for chapter, stories in CHAPTERS.items()
            for sentence, story in stories.items()
            if (chosen := apart(chapter, sentence))
        }
    (FOLDER / "ours.json").write_text(json.dumps(own, indent=1, sort_keys=True) + "\n")
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
