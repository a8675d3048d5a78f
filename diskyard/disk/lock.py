"""A file that one process holds at a time, until it closes it or ends (flock: kill -9 included)."""

import fcntl
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

MOMENT: Final = 3.0
"""Seconds for which a program that was killed may still hold what it held, by a child that it had just forked."""
_AGAIN: Final = 0.02


def taken(path: Path, mode: int = 0o600, *, wait: bool = False, patience: float = 0.0) -> int | None:
    """The file, made where it was not there, open and held; None: another holds it, and we do not wait (longer).

    `patience` is in seconds.
    """
    deadline = time.monotonic() + patience
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        with ExitStack() as unused:
            unused.callback(os.close, fd)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return None
                time.sleep(_AGAIN)
                continue
            if _is_still(path, fd):
                unused.pop_all()
                return fd


def _is_still(path: Path, fd: int) -> bool:
    """Whether the path leads to what we have locked: its holder may have removed it meanwhile."""
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False
