"""Progress: what importers say, asked beside the controllers, told to users."""

import socket
import threading
from concurrent.futures import Future

import pytest

from datavolume_controller.progress import Scraper, Target, parsed, report
from diskyard.api.progress import Figures, percentage
from diskyard.disk.target import Progress
from importer import metrics
from importer.report import Report
from tests.builders import eventually

LOCALHOST = "127.0.0.1"
TARGET = Target("127.0.0.2", "owner", "pod")


def page(fetched: int, total: int | None = 1000, owner: str = "owner") -> str:
    report = Report(owner)
    report.update(Progress(fetched=fetched, total=total, written=fetched * 2))
    return report.metrics()


def test_reads_what_the_importer_writes() -> None:
    found = parsed(page(450), "owner")
    assert (found.fetched, found.total, found.written) == (450, 1000, 900)
    assert found.percent is not None


def test_reads_only_the_owners_figures() -> None:
    assert parsed(page(450, owner="another"), "owner") == Figures()


def test_reads_reports_as_well() -> None:
    report = Report("owner")
    report.update(Progress(fetched=7, total=10, percent=70, journal="kept"))

    assert parsed(report.progress(), "owner") == Figures(percent=70, fetched=7, total=10, journal="kept")
    assert parsed(report.progress(), "another") == Figures()


def test_a_source_of_unknown_length_has_no_total() -> None:
    assert parsed(page(450, total=None), "owner").total is None


class Worker:
    """An importer's page, and a clock, both moved by the test."""

    def __init__(self) -> None:
        self.now = 100.0
        self.fetched = 0
        self.asked = 0
        self.broken = False

    def fetch(self, _: Target) -> str:
        self.asked += 1
        return "no metrics {" if self.broken else page(self.fetched)


def test_asks_about_once_a_second() -> None:
    worker = Worker()
    with Scraper(worker.fetch, lambda: worker.now) as scraper:
        eventually(lambda: scraper.figures(TARGET))
        assert worker.asked == 1
        worker.now += 1
        worker.fetched = 300
        assert eventually(lambda: (scraper.figures(TARGET) or Figures()).fetched == 300)
        assert worker.asked == 2


def test_tells_speed_and_what_remains() -> None:
    worker = Worker()
    with Scraper(worker.fetch, lambda: worker.now) as scraper:
        eventually(lambda: scraper.figures(TARGET))
        worker.now, worker.fetched = 102.0, 400
        found = eventually(lambda: (f := scraper.figures(TARGET)) and f.rate and f)
        assert (found.rate, found.seconds_left) == (200, 3)


def test_a_worker_that_does_not_answer_holds_nobody_up() -> None:
    answer = threading.Event()

    def fetch(target: Target) -> str:
        if target.pod_uid == "deaf":
            answer.wait(10)
            raise TimeoutError
        return page(7)

    with Scraper(fetch) as scraper:
        assert scraper.figures(Target("127.0.0.3", "owner", "deaf")) is None
        assert eventually(lambda: scraper.figures(TARGET))
        assert scraper.figures(Target("127.0.0.3", "owner", "deaf")) is None
        answer.set()


def test_an_answer_that_breaks_off_leaves_no_connection() -> None:
    half = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100\r\n\r\nhalf"
    seen: Future[bytes] = Future()

    def serve(listener: socket.socket) -> None:
        link, _ = listener.accept()
        with metrics._context(LOCALHOST).wrap_socket(link, server_side=True) as safe:
            safe.settimeout(60)
            safe.recv(1 << 16)
            safe.sendall(half)
            seen.set_result(safe.recv(1))

    with socket.create_server((LOCALHOST, 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        with pytest.raises(TimeoutError) as broken:
            report(Target(LOCALHOST, "owner", "pod", listener.getsockname()[1]))

        assert seen.result(60) == b"", f"ended while {broken.value} is still held"


def test_keeps_the_last_word_of_a_worker_that_falls_silent() -> None:
    worker = Worker()
    worker.fetched = 5
    with Scraper(worker.fetch, lambda: worker.now) as scraper:
        eventually(lambda: scraper.figures(TARGET))
        worker.now, worker.broken = 102.0, True
        eventually(lambda: scraper.figures(TARGET) and worker.asked == 2)
        assert (scraper.figures(TARGET) or Figures()).fetched == 5


def test_survives_the_way_through_an_annotation() -> None:
    figures = Figures(45.0, 450, 1000, 900, 150.0)
    assert Figures.from_text(figures.to_text()) == figures
    assert '"secondsLeft": 4' in figures.to_text()


def test_reads_nothing_from_what_is_not_ours() -> None:
    assert Figures.from_text("") is None
    assert Figures.from_text("[]") is None


def test_percentages_as_clients_read_them() -> None:
    assert [percentage(45), percentage(99.999), percentage(None), percentage(100, "99.00%")] == [
        "45.00%", "99.99%", "N/A", "99.00%",
    ]  # fmt: skip
