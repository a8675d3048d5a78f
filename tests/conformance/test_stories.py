"""Our server answers as a real one did, field by field; and a real one still answers so."""

import difflib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.chapters import CHAPTERS, told
from tests.conformance.differences import COMMANDS, DIFFERENCES
from tests.conformance.exchange import Line
from tests.conformance.recorded import otherwise, recorded

ALL = [(chapter, sentence) for chapter, stories in CHAPTERS.items() for sentence in stories]
DOCUMENT = Path(__file__).parents[2] / "docs" / "differences.md"


def shown(chapter: str, sentence: str, answers: list[dict[str, Any]], left_out: Collection[int]) -> list[str]:
    """Requests and answers as lines, for a difference that can be read."""
    lines: list[str] = []
    for index, (request, answer) in enumerate(zip(CHAPTERS[chapter][sentence], answers, strict=True)):
        if index not in left_out:
            lines.append(f"{request.method} {request.path} {json.dumps(request.body, default=repr)[:300]}")
            lines += json.dumps(answer, indent=1, sort_keys=True).splitlines()
    return lines


@pytest.mark.parametrize(("chapter", "sentence"), ALL)
def test_the_answers_are_those_of_a_real_server(line: Line, chapter: str, sentence: str) -> None:
    apart = line.apart(chapter, sentence)
    expected = recorded(chapter)[sentence]

    answers = told(line, CHAPTERS[chapter][sentence])

    real, found = (shown(chapter, sentence, some, apart) for some in (expected, answers))
    assert real == found, "\n".join(difflib.unified_diff(real, found, "real", "found", n=8, lineterm=""))
    assert {index for index in apart if answers[index] == expected[index]} == set(), "no longer different"
    assert {index: answers[index] for index in apart} == (otherwise(chapter, sentence) if apart else {})


def test_every_difference_has_its_reason() -> None:
    lines = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| ")]

    assert {line.split("|")[1].strip() for line in lines[1:]} == {*DIFFERENCES, *COMMANDS}
