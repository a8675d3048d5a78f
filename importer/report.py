"""What an importer says while it works: a line every few seconds, and /metrics for whoever watches.

The server is loaded beside the transfer, when its first bytes are here: time to the first byte matters more.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from diskyard.api.names import cdi
from diskyard.disk.target import Progress
from diskyard.log import logger

EVERY: Final = 5.0
"""Seconds between two lines."""

log = logger("importer")


class Report:
    """The last progress, for all who ask. `update` is an OnProgress."""

    def __init__(self, owner_uid: str, serve: Callable[["Report"], None] | None = None) -> None:
        """`serve` runs on a thread of its own from the first progress on."""
        self._owner = owner_uid
        self._serve = serve
        self._progress = Progress()
        self._said = 0.0
        self._seen = (0.0, 0)

    def update(self, progress: Progress) -> None:
        """Take in how far it is; say it when it is time."""
        self._progress = progress
        now = time.monotonic()
        if not self._said:
            self._said, self._seen = now, (now, progress.fetched)
            self._start()
        if now - self._said >= EVERY:
            since, before = self._seen
            speed = (progress.fetched - before) / (now - since)
            self._said, self._seen = now, (now, progress.fetched)
            log.info(
                progress.phase, percent=f"{progress.percent:.2f}", fetched=progress.fetched, total=progress.total,
                written=progress.written, bytes_per_second=int(speed),
            )  # fmt: skip

    def metrics(self) -> str:
        """Prometheus' text format, version 0.0.4."""
        progress = self._progress
        label = f'{{{cdi.OWNER_METRIC_LABEL}="{self._owner}"}}'
        rows = [
            (cdi.PROGRESS_METRIC, "counter", "The import progress in percentage", f"{progress.percent:.2f}"),
            (cdi.FETCHED_METRIC, "counter", "Bytes of the source that are here", progress.fetched),
            (cdi.WRITTEN_METRIC, "counter", "Bytes written to the disk, holes not counted", progress.written),
        ]
        if progress.total is not None:
            rows.append((cdi.SOURCE_METRIC, "gauge", "Bytes of the source in all", progress.total))
        return "".join(
            f"# HELP {name} {text}\n# TYPE {name} {kind}\n{name}{label} {value}\n"
            for name, kind, text, value in rows
        )

    def _start(self) -> None:
        if self._serve:
            threading.Thread(target=self._serve, args=(self,), name="metrics", daemon=True).start()
