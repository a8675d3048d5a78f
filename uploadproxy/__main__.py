"""The upload proxy on a cluster: on a yard it runs in the yard's own process."""

import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from diskyard import log
from diskyard.api.names import cdi, upload
from diskyard.errors import DiskyardError
from diskyard.kube.http import connect
from diskyard.web import server, tls
from uploadproxy import proxy
from uploadproxy.limits import Limits
from uploadproxy.trust import Trust

GRACE = 30.0


def main() -> int:
    """Serve until told to stop; the process's exit code."""
    log.start()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        running = server.start(
            proxy.application(Trust(connect()), Limits.from_env(os.environ)), _place(os.environ)
        )
    except DiskyardError as error:
        log.logger("uploadproxy").error("cannot begin", error=str(error))
        return 4
    stopped.wait()
    running.stop(GRACE)
    return 0


def _place(env: Mapping[str, str]) -> server.Place:
    """Where to listen, and with which certificate: a pod's own places, if nothing else is said."""
    certificate = env.get(upload.ENV_CERT) or f"{upload.TLS_DIR}/tls.crt"
    key = env.get(upload.ENV_KEY) or f"{upload.TLS_DIR}/tls.key"
    host = env.get(upload.ENV_ADDRESS) or env.get(cdi.ENV_POD_IP) or "0.0.0.0"
    port = env.get(upload.ENV_PORT, "")
    context = tls.context(tls.Pair(Path(certificate), Path(key)))
    return server.Place(host, int(port) if port.isdecimal() else upload.PORT, tls=context, lends=True)


if __name__ == "__main__":
    sys.exit(main())
