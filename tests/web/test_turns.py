"""Threads that take turns."""

import threading

from diskyard.web.turns import Turns
from tests.builders import eventually


def test_so_many_are_within_and_the_others_come_in_the_order_of_their_coming() -> None:
    turns, within, go = Turns(1), [], threading.Event()

    def enter(number: int) -> None:
        with turns:
            within.append(number)
            assert go.wait(60)

    threads = [threading.Thread(target=enter, args=(number,)) for number in range(5)]
    for number, thread in enumerate(threads):
        thread.start()
        eventually(lambda number=number: turns.waiting == number and within == [0], 60)
    go.set()
    for thread in threads:
        thread.join(60)

    assert within == [0, 1, 2, 3, 4]


def test_who_leaves_does_not_come_in_again_before_who_waits() -> None:
    turns, order = Turns(1), []

    def enter() -> None:
        with turns:
            order.append("waited")

    with turns:
        thread = threading.Thread(target=enter)
        thread.start()
        eventually(lambda: turns.waiting == 1, 60)
    with turns:
        order.append("again")
    thread.join(60)

    assert order == ["waited", "again"]


def test_several_are_within_at_once() -> None:
    turns, meeting = Turns(3), threading.Barrier(3)

    def enter() -> None:
        with turns:
            meeting.wait(60)

    threads = [threading.Thread(target=enter) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert not meeting.broken
