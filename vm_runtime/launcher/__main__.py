"""`diskyard-launcher`: the main process of a guest's pod. Its environment is the job, its end a termination message."""

import os
import sys
from pathlib import Path
from typing import Final

from diskyard import ending, log
from diskyard.api.job import LaunchJob, TerminationMessage
from diskyard.api.names.cdi import TERMINATION_LOG
from diskyard.api.names.kubevirt import CONTROL_SOCKET
from diskyard.errors import DiskyardError, InvalidRequest
from vm_runtime.launcher import lender, question
from vm_runtime.launcher.place import Place

ASK = "--ask"
"""Ask the launcher beside us how its guest is: what probes do."""
CONSUME = "--consume"
"""Only be there, so that claims that wait for their first consumer bind."""

LEND: Final = "--lend"
"""Hold a claim for a guest that runs already: its volume's name and size in bytes follow."""

_log = log.logger("launcher")


@ending.at_once
def main() -> int:
    """Run the guest; 0 when it powered off, 1 when it could not run or crashed."""
    if CONSUME in sys.argv[1:]:
        return 0
    if sys.argv[1:2] == [ASK]:
        return question.asked(sys.argv[2:], Place().private / CONTROL_SOCKET)
    log.start(os.environ.get("LOG_LEVEL", "INFO"))
    try:
        if sys.argv[1:2] == [LEND]:
            lender.lend(sys.argv[2], int(sys.argv[3]), Place())
        end = _launch()
    except DiskyardError as failure:
        end = TerminationMessage(str(failure), failure.reason, fatal=failure.fatal)
    except Exception as failure:  # noqa: BLE001 - the last floor: whatever it is, the pod says it
        _log.error("unexpected", exc_info=True)
        end = TerminationMessage(f"unexpected {type(failure).__name__}: {failure}", "Unexpected")
    if end.reason:
        _log.error(end.message, reason=end.reason)
    _say(end)
    return 1 if end.reason else 0


def _launch() -> TerminationMessage:
    from vm_runtime.launcher.lifecycle import Launcher  # noqa: PLC0415 - libvirt is not needed to refuse

    if os.getuid() == 0:
        raise InvalidRequest("a launcher never runs as root: libvirt's session mode needs an ordinary user")
    return Launcher(LaunchJob.from_env(os.environ), Place(), sys.stdout.buffer).run()


def _say(end: TerminationMessage) -> None:
    try:
        Path(TERMINATION_LOG).write_text(end.to_text())
    except OSError:
        _log.debug("no termination log here")


if __name__ == "__main__":
    main()
