"""Who may read a page: the API server is asked, not too often, and believed."""

from collections.abc import Iterator

import pytest

from diskyard.errors import Forbidden, Unauthorized
from diskyard.kube import guard
from diskyard.kube.figures import Counted, Figures
from diskyard.kube.guard import Guard
from tests.served import Yard, served

PATH = "/metrics"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with served(tmp_path_factory.mktemp("yard")) as running:
        yield running


@pytest.mark.parametrize(
    "shown", ["", "Bearer", "Bearer ", "Basic YTpi", "token", f"Bearer {'x' * (guard.LONGEST + 1)}"]
)
def test_without_a_token_the_server_is_not_even_asked(yard: Yard, shown: str) -> None:
    figures = Figures()
    with pytest.raises(Unauthorized, match="expected the header `Authorization: Bearer TOKEN`"):
        Guard(Counted(yard.client, figures)).admit(shown, PATH)
    assert asked(figures) == 0


@pytest.mark.parametrize("token", ["made-up", "ümlaut", "a.b.c"])
def test_a_token_that_nobody_knows_opens_nothing(yard: Yard, token: str) -> None:
    with pytest.raises(Unauthorized, match="does not know this token"):
        Guard(yard.client).admit(f"Bearer {token}", PATH)


def test_an_answer_holds_for_a_while(yard: Yard) -> None:
    figures, clock = Figures(), Clock()
    judge = Guard(Counted(yard.client, figures), clock)
    for _ in range(5):
        judge.admit(f"bearer {yard.token}", PATH)
    assert asked(figures) == 2  # whose token, and whether they may

    clock.now += guard.REMEMBERED
    judge.admit(f"Bearer {yard.token}", PATH)
    assert asked(figures) == 4


def test_many_wrong_tokens_fill_no_memory(yard: Yard) -> None:
    judge = Guard(yard.client)
    for number in range(guard.MOST + 5):
        with pytest.raises((Unauthorized, Forbidden)):
            judge.admit(f"Bearer {number}", PATH)
    assert len(judge._known) == guard.MOST


def asked(figures: Figures) -> int:
    page = figures.text().decode()
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in page.splitlines()
        if line.startswith("diskyard_api_requests_total{")
    )
