"""What people type does on our server what it does on a real one, with today's kubectl and with the oldest we know."""

import difflib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cluster import programs
from tests.conformance.chapters import place
from tests.conformance.commands import STORIES, Kubectl, Said
from tests.conformance.differences import COMMANDS
from tests.conformance.exchange import Line, Server

pytestmark = pytest.mark.cluster
APART = {typed: fragments for lines in COMMANDS.values() for typed, fragments in lines.items()}
"""What is answered otherwise, and how."""


@pytest.fixture(scope="module", params=["today's", "older"])
def program(request: pytest.FixtureRequest) -> Path:
    """The kubectl that people have."""
    return programs.older_kubectl() if request.param == "older" else programs.folder() / "kubectl"


@pytest.fixture(scope="module")
def places(ours: Server, theirs: Server) -> Iterator[tuple[Line, Line]]:
    """A line to each server, to make namespaces by."""
    with closing(Line(ours)) as one, closing(Line(theirs)) as other:
        yield one, other


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where kubectl keeps what it found out."""
    return tmp_path_factory.mktemp("home")


def shown(line: str, said: Said) -> list[str]:
    return [f"$ kubectl {line}", f"({said.code})", *said.out.splitlines(), "--", *said.err.splitlines()]


@pytest.mark.parametrize("sentence", STORIES)
def test_what_people_type_is_answered_as_a_real_server_answers(
    places: tuple[Line, Line], program: Path, home: Path, sentence: str
) -> None:
    story = STORIES[sentence]
    ours, real = (Kubectl(program, line.server, home).told(story, place(line)) for line in places)

    told = list(zip(story, real, ours, strict=True))
    expected = [line for typed, said, _ in told if typed not in APART for line in shown(typed, said)]
    found = [line for typed, _, said in told if typed not in APART for line in shown(typed, said)]
    assert expected == found, "\n".join(
        difflib.unified_diff(expected, found, "real", "ours", n=8, lineterm="")
    )
    for typed, said, other in told:
        if typed in APART:
            theirs, own = APART[typed]
            assert theirs in said.out + said.err
            assert theirs not in other.out + other.err, f"no longer different: {typed}"
            assert own in other.out + other.err


def test_every_line_that_differs_is_typed_somewhere() -> None:
    typed = {line for story in STORIES.values() for line in story}

    assert APART.keys() <= typed
