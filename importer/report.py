"""What an importer says while it works: a line every few seconds, and its figures for whoever asks over HTTPS.

The server is loaded beside the transfer, when its first bytes are here: time to the first byte matters more.
"""

import json
import threading
import time
from collections.abc import Callable
from typing import Final

from diskyard.api.names import cdi
from diskyard.api.progress import Figures
from diskyard.disk.target import STALL, Progress
from diskyard.log import logger

EVERY: Final = 5.0
"""Seconds between two lines."""
_MOMENT: Final = 1.0
"""Seconds at least that a speed is taken over."""
_NEWEST: Final = 0.4
"""Weight of the newest of them."""

log = logger("importer")


class Report:
    """The last progress, for all who ask. `update` is an OnProgress."""

    def __init__(
        self,
        owner_uid: str,
        serve: Callable[["Report"], None] | None = None,
        *,
        host: str = "the source",
        patience: float = STALL,
    ) -> None:
        """`serve` runs on a thread of its own from the first progress on; `host` is where the source is."""
        self._owner = owner_uid
        self._serve = serve
        self._host = host
        self._patience = patience
        self._phase = ""
        self._figures = Figures()
        self._said = 0.0
        self._seen = (0.0, 0)

    def update(self, progress: Progress) -> None:
        """Take in how far it is; say it when it is time."""
        now = time.monotonic()
        begins = not self._said
        if begins:
            self._said, self._seen = now, (now, progress.fetched)
        self._phase = progress.phase
        self._figures = Figures(
            percent=progress.percent,
            fetched=progress.fetched,
            total=progress.total,
            written=progress.written,
            rate=self._rate(now, progress.fetched),
            limit=progress.limit,
            stalled=progress.still if progress.still >= self._patience else 0.0,
            journal=progress.journal,
        )
        if begins:
            self._start()
        elif now - self._said >= min(EVERY, self._patience):
            self._said = now
            self._tell(progress)

    @property
    def phase(self) -> str:
        """What it does: connecting, transferring, converting, complete; empty before all of them."""
        return self._phase

    @property
    def fetched(self) -> int:
        """Bytes of the source that are here."""
        return self._figures.fetched

    @property
    def journal(self) -> str:
        """What is durable of a block device, as it was said last."""
        return self._figures.journal

    def progress(self) -> str:
        """JSON: how far it is."""
        figures = self._figures
        said = {"phase": self._phase, "ownerUID": self._owner, "stalledSeconds": 0, **figures.to_dict()}
        return json.dumps(said) + "\n"

    def metrics(self) -> str:
        """Prometheus' text format, version 0.0.4."""
        figures = self._figures
        rows = [
            (
                cdi.PROGRESS_METRIC,
                "counter",
                "The import progress in percentage",
                f"{figures.percent or 0:.2f}",
            ),
            (cdi.FETCHED_METRIC, "counter", "Bytes of the source that are here", figures.fetched),
            (cdi.WRITTEN_METRIC, "counter", "Bytes written to the disk, holes not counted", figures.written),
            (
                cdi.STALLED_METRIC,
                "gauge",
                "Seconds without a byte, once they are many",
                round(figures.stalled),
            ),
        ]
        if figures.total is not None:
            rows.append((cdi.SOURCE_METRIC, "gauge", "Bytes of the source in all", figures.total))
        if figures.limit:
            rows.append((cdi.LIMIT_METRIC, "gauge", "What limits the speed: source, network, disk or cpu", 1))
        return "".join(
            f"# HELP {name} {text}\n# TYPE {name} {kind}\n{name}{{{self._labels(name)}}} {value}\n"
            for name, kind, text, value in rows
        )

    def _labels(self, metric: str) -> str:
        labels = {cdi.OWNER_METRIC_LABEL: self._owner}
        if metric == cdi.LIMIT_METRIC:
            labels[cdi.LIMIT_METRIC_LABEL] = self._figures.limit
        return ",".join(f'{name}="{text}"' for name, text in labels.items())

    def _rate(self, now: float, fetched: int) -> float | None:
        """Bytes a second, smoothed."""
        since, before = self._seen
        if now - since < _MOMENT:
            return self._figures.rate
        self._seen = (now, fetched)
        newest, old = max(0, fetched - before) / (now - since), self._figures.rate
        return newest if old is None else _NEWEST * newest + (1 - _NEWEST) * old

    def _tell(self, progress: Progress) -> None:
        waiting = progress.waiting(self._host, self._patience)
        if waiting:
            log.warning(waiting, at=progress.fetched, total=progress.total)
            return
        log.info(
            progress.phase, percent=f"{progress.percent:.2f}", fetched=progress.fetched, total=progress.total,
            written=progress.written, bytes_per_second=int(self._figures.rate or 0), limit=str(progress.limit),
        )  # fmt: skip

    def _start(self) -> None:
        if self._serve:
            threading.Thread(target=self._serve, args=(self,), name="metrics", daemon=True).start()
