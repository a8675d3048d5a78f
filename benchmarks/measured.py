"""Runs one command and prints what it cost as JSON: python -I -S measured.py SECONDS OUTPUT COMMAND...

A process of its own, and a small one, because a child's peak memory starts at that of the process that starts it.
The largest process below counts. Whoever takes longer than SECONDS, or is not wanted any more, is ended with all that
it started. What the command says goes to the file OUTPUT.
"""

import json
import os
import signal
import sys
import time


def main(patience: float, output: str, command: list[str]) -> None:
    words = os.open(output, os.O_WRONLY | os.O_CREAT, 0o600)
    said = [(os.POSIX_SPAWN_DUP2, words, 1), (os.POSIX_SPAWN_DUP2, words, 2)]
    begun = time.monotonic()
    child = os.posix_spawn(command[0], command, os.environ, file_actions=said, setpgroup=0)
    for ending in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: os.killpg(child, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, patience)
    _, status, usage = os.wait4(child, 0)
    wall = time.monotonic() - begun
    code = os.waitstatus_to_exitcode(status)
    cpu = usage.ru_utime + usage.ru_stime
    print(json.dumps({"code": code, "wall": wall, "cpu": cpu, "resident": usage.ru_maxrss * 1024}))


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2], sys.argv[3:])
