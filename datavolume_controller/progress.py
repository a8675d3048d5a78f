"""Asks running workers how far they are: several at once, about every second, and never in a controller's way."""

import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cache
from types import TracebackType
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from diskyard.api.names import cdi
from diskyard.api.progress import Figures

PERIOD: Final = 1.0
FIRST: Final = 0.25
"""Seconds between two questions until the first answer: a worker's server comes up with its first bytes."""
IDLE: Final = 2.0
"""Seconds between two questions to an upload server that nobody sends anything."""
TIMEOUT: Final = 2.0
FORGOTTEN: Final = 60.0
"""Seconds after which a worker that nobody asks about is forgotten."""
LIMIT: Final = 1 << 20
"""Bytes of an answer that are read."""
_SMOOTHING: Final = 0.4
"""Weight of the newest second in the speed."""


@dataclass(frozen=True)
class Target:
    """A worker to ask."""

    address: str
    """Its pod's IP."""
    owner_uid: str
    """Whose progress."""
    pod_uid: str
    port: int = cdi.METRICS_PORT


@dataclass
class _Known:
    figures: Figures | None = None
    moment: float = 0.0
    """When the figures were got."""
    asked: float = float("-inf")
    wanted: float = 0.0
    busy: bool = field(default=False)


class Scraper(AbstractContextManager["Scraper"]):
    """The latest figures of every worker that someone asks about."""

    def __init__(
        self,
        fetch: "Callable[[Target], str] | None" = None,
        clock: Callable[[], float] = time.monotonic,
        workers: int = 4,
    ) -> None:
        self._fetch = fetch or report
        self._clock = clock
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="progress")
        self._known: dict[Target, _Known] = {}
        self._lock = threading.Lock()

    def figures(self, target: Target) -> Figures | None:
        """What the worker said last; asks it again, behind the caller's back, when that is old."""
        now = self._clock()
        with self._lock:
            self._forget(now)
            known = self._known.setdefault(target, _Known())
            known.wanted = now
            due = (PERIOD if known.figures else FIRST) * 0.9
            if not known.busy and now - known.asked >= due:
                known.busy, known.asked = True, now
                self._pool.submit(self._ask, target)
            return known.figures

    def close(self) -> None:
        """Ask nothing more."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, target: Target) -> None:
        found: Figures | None = None
        try:
            found = parsed(self._fetch(target), target.owner_uid)
        except (OSError, ValueError, http.client.HTTPException):
            found = None  # not up yet, gone, or too busy: the next second tells
        finally:
            now = self._clock()
            with self._lock:
                known = self._known.get(target)
                if known:
                    known.busy = False
                    if found:
                        known.figures = _with_rate(found, known, now)
                        known.moment = now

    def _forget(self, now: float) -> None:
        for target in [each for each, known in self._known.items() if now - known.wanted > FORGOTTEN]:
            del self._known[target]


def parsed(text: str, owner_uid: str) -> Figures:
    """The figures in what a worker reports, JSON of ours or any worker's metrics. Raises ValueError."""
    if text.startswith("{"):
        said = json.loads(text)
        return (Figures.from_text(text) or Figures()) if said.get("ownerUID") == owner_uid else Figures()
    return _measured(text, owner_uid)


def _measured(text: str, owner_uid: str) -> Figures:
    said: dict[str, float] = {}
    limit = ""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.labels.get(cdi.OWNER_METRIC_LABEL, owner_uid) == owner_uid:
                said[sample.name] = sample.value
                limit = sample.labels.get(cdi.LIMIT_METRIC_LABEL, limit)
    total = said.get(cdi.SOURCE_METRIC)
    return Figures(
        percent=said.get(cdi.PROGRESS_METRIC),
        fetched=int(said.get(cdi.FETCHED_METRIC, 0)),
        total=int(total) if total else None,
        written=int(said.get(cdi.WRITTEN_METRIC, 0)),
        limit=limit,
        stalled=said.get(cdi.STALLED_METRIC, 0.0),
    )


def report(target: Target) -> str:
    """What the worker reports; the metrics of one that knows no reports.

    Its certificate is its own: whoever answers there is the pod we made.
    """
    status, text = _asked(target, "/progress")
    return text if status == http.HTTPStatus.OK else _asked(target, "/metrics")[1]


@cache
def _context() -> ssl.SSLContext:
    """Made once, and without the machine's authorities: to read those takes longer than an answer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _asked(target: Target, path: str) -> tuple[int, str]:
    connection = http.client.HTTPSConnection(target.address, target.port, timeout=TIMEOUT, context=_context())
    try:
        connection.request("GET", path)
        with connection.getresponse() as answer:  # one that ends the connection has taken the socket over
            return answer.status, answer.read(LIMIT).decode("utf-8", "replace")
    finally:
        connection.close()


def _with_rate(figures: Figures, known: _Known, now: float) -> Figures:
    before = known.figures
    if before is None or now <= known.moment or figures.fetched < before.fetched:
        return figures
    newest = (figures.fetched - before.fetched) / (now - known.moment)
    smooth = newest if before.rate is None else _SMOOTHING * newest + (1 - _SMOOTHING) * before.rate
    return replace(figures, rate=smooth)
