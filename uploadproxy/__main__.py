"""The upload proxy on a cluster: on a yard it runs in the yard's own process."""

import os
import signal
import sys
import threading
from pathlib import Path

from diskyard import log
from diskyard.api.names import upload
from diskyard.errors import DiskyardError
from diskyard.kube.http import connect
from diskyard.web import server, tls
from uploadproxy import proxy
from uploadproxy.limits import Limits
from uploadproxy.trust import Trust

PORT = 8443
GRACE = 30.0


def main() -> int:
    """Serve until told to stop; the process's exit code."""
    log.start()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    folder = Path(upload.TLS_DIR)
    try:
        context = tls.context(tls.Pair(folder / "tls.crt", folder / "tls.key"))
        place = server.Place(os.environ.get("POD_IP", "0.0.0.0"), PORT, tls=context, lends=True)
        running = server.start(proxy.application(Trust(connect()), Limits.from_env(os.environ)), place)
    except DiskyardError as error:
        log.logger("uploadproxy").error("cannot begin", error=str(error))
        return 4
    stopped.wait()
    running.stop(GRACE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
