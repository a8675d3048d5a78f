"""Random sequences of writes by several clients, on a real server and on ours: same answers, events and authors."""

import difflib
import json
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.conformance.exchange import Line, Server
from tests.conformance.sequences import SEQUENCES, Outcome, Step, outcome

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def lines(ours: Server, theirs: Server) -> Iterator[tuple[Line, Line]]:
    """A connection to each server: ours, a real one."""
    with closing(Line(ours)) as one, closing(Line(theirs)) as other:
        yield one, other


def shown(steps: list[tuple[str, Step]], found: Outcome) -> list[str]:
    lines = []
    for (client, step), answer in zip(steps, found.answers, strict=True):
        lines += [f"{client}: {step}", *json.dumps(answer, indent=1, sort_keys=True).splitlines()]
    return lines + json.dumps(found.events, indent=1, sort_keys=True).splitlines()


def test_any_sequence_has_the_same_answers_events_and_authors(lines: tuple[Line, Line]) -> None:
    @settings(
        max_examples=50, phases=[Phase.generate], deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(SEQUENCES)
    def same(steps: list[tuple[str, Step]]) -> None:
        found, real = (shown(steps, outcome(line, steps)) for line in lines)
        assert found == real, "\n".join(difflib.unified_diff(real, found, "real", "ours", n=8, lineterm=""))

    same()
