"""A file that one process holds at a time."""

import fcntl
import os
import threading
from pathlib import Path

from diskyard.disk import lock


def test_a_lock_that_a_killed_process_leaves_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = lock.taken(path)
    assert held is not None
    assert lock.taken(path) is None
    refused = lock.taken(path, patience=0.1)
    threading.Timer(0.3, fcntl.flock, (held, fcntl.LOCK_UN)).start()

    found = lock.taken(path, patience=60)

    assert refused is None
    assert found is not None
    os.close(found)
    os.close(held)
