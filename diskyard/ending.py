"""How our programs end: when they are told to, at once, with what they found as exit code."""

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any, Final, NoReturn

LOOK: Final = 1.0
"""Seconds after which a main thread that waits looks up: a signal that another thread was given, or that came just
before the wait, is handled only then."""


def at_once(program: Callable[[], Any]) -> Callable[[], NoReturn]:
    """The program, ending its process with the code that it returns or exits with, and waiting for no thread.

    Before Python 3.14 an interpreter that is taken down under a thread which is inside compiled code can abort the
    process ("FATAL: exception not rethrown"): an import that was complete ended with 134 where the page of its
    figures was still being set up. What has to be done before the end is done by the program itself.
    """

    @wraps(program)
    def run() -> NoReturn:
        try:
            code = program()
        except SystemExit as stop:
            code = stop.code
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # nobody reads it any more, or it was closed
                stream.flush()
        os._exit(code or 0)

    return run


def until(stop: threading.Event) -> None:
    """Wait for that on the main thread: it may be set by the handler of a signal, or never, and a signal ends it."""
    while not stop.wait(LOOK):
        pass
