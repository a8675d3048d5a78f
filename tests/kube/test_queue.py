"""The work queue: once each, one worker a key, later when asked, slower after failures."""

import threading

from diskyard.kube.queue import LONGEST_DELAY, Queue, Schedule, backoff


def schedule(*due: tuple[str, float]) -> Schedule[str]:
    made: Schedule[str] = Schedule()
    for key, moment in due:
        made.add(key, moment)
    return made


def test_gives_a_key_once_however_often_it_was_added():
    keys = schedule(("a", 0), ("a", 0), ("a", 0))
    assert keys.take(0) == "a"
    keys.done("a")
    assert keys.take(0) is None


def test_gives_keys_in_the_order_in_which_they_are_due():
    keys = schedule(("late", 2), ("early", 1), ("earliest", 0))
    assert [keys.take(5), keys.take(5), keys.take(5)] == ["earliest", "early", "late"]


def test_holds_a_key_back_until_it_is_due():
    keys = schedule(("a", 10))
    assert keys.take(9.9) is None
    assert keys.next_due() == 10
    assert keys.take(10) == "a"


def test_the_sooner_of_two_moments_counts():
    keys = schedule(("a", 10), ("a", 1), ("a", 5))
    assert keys.next_due() == 1
    assert keys.take(1) == "a"
    keys.done("a")
    assert keys.next_due() is None


def test_a_busy_key_comes_back_only_after_its_worker_is_done():
    keys = schedule(("a", 0))
    keys.take(0)
    keys.add("a", 0)
    assert keys.take(1) is None
    keys.done("a")
    assert keys.take(1) == "a"


def test_back_off_doubles_from_fifty_milliseconds_to_a_minute():
    assert [backoff(n, 0.5) for n in (1, 2, 3)] == [0.05, 0.1, 0.2]
    assert backoff(50, 0.5) == LONGEST_DELAY


def test_back_off_is_spread_by_a_tenth_either_way():
    assert (round(backoff(1, 0.0), 4), round(backoff(1, 1.0), 4)) == (0.045, 0.055)


def test_failures_of_a_key_are_counted_until_it_is_forgotten():
    queue: Queue[str] = Queue(clock=lambda: 0.0, chance=lambda: 0.5)
    assert [queue.retry("a"), queue.retry("a"), queue.retry("b")] == [0.05, 0.1, 0.05]
    queue.forget("a")
    assert queue.retry("a") == 0.05


def test_a_waiting_worker_is_woken_by_a_new_key():
    queue: Queue[str] = Queue()
    taken: list[str | None] = []
    worker = threading.Thread(target=lambda: taken.append(queue.take()))
    worker.start()
    queue.add("a")
    worker.join(timeout=60)
    assert taken == ["a"]


def test_closing_ends_every_waiting_worker():
    queue: Queue[str] = Queue()
    taken: list[str | None] = []
    workers = [threading.Thread(target=lambda: taken.append(queue.take())) for _ in range(3)]
    for worker in workers:
        worker.start()
    queue.close()
    for worker in workers:
        worker.join(timeout=60)
    assert taken == [None, None, None]
