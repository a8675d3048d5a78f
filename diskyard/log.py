"""Lines for people and machines alike: time, level, who, what, then key=value.

The standard library's logging behind one formatter: a worker starts in tens of milliseconds and its
standard error is its log.
"""

import logging
import sys
import time
from typing import Any


class Line(logging.Formatter):
    """`2026-11-21T12:00:00Z INFO importer: opened url=https://... size=42`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record on one line; an exception's traceback follows on its own lines."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        fields = getattr(record, "fields", {})
        tail = "".join(f" {key}={_plain(value)}" for key, value in fields.items())
        text = f"{stamp} {record.levelname} {record.name}: {record.getMessage()}{tail}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


class Logger:
    """A named logger that takes what it says and the fields beside it: `log.info("opened", url=url)`."""

    def __init__(self, name: str) -> None:
        self._log = logging.getLogger(name)

    def debug(self, text: str, **fields: Any) -> None:
        """Detail for someone who looks for a fault."""
        self._log.debug(text, extra={"fields": fields})

    def info(self, text: str, **fields: Any) -> None:
        """A step that was taken."""
        self._log.info(text, extra={"fields": fields})

    def warning(self, text: str, **fields: Any) -> None:
        """Something that we survived and that someone should know."""
        self._log.warning(text, extra={"fields": fields})

    def error(self, text: str, *, exc_info: bool = False, **fields: Any) -> None:
        """Something that did not work; `exc_info` adds the traceback."""
        self._log.error(text, exc_info=exc_info, extra={"fields": fields})


def logger(name: str) -> Logger:
    """The logger of that name."""
    return Logger(name)


LEVELS = ("WARNING", "INFO", "DEBUG")


def level(verbosity: str) -> str:
    """The level for a number from 0 on, as text; anything else is 1."""
    return LEVELS[min(int(verbosity), len(LEVELS) - 1) if verbosity.isdecimal() else 1]


def start(level: str = "INFO") -> None:
    """Send every logger's lines to standard error, from `level` up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Line())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def _plain(value: Any) -> str:
    text = str(value)
    return repr(text) if " " in text or "\n" in text or not text else text
