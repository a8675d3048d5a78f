"""The upload proxy on a cluster: on a yard it runs in the yard's own process."""

import os
import signal
import ssl
import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from diskyard import ending, log
from diskyard.api.names import cdi, upload
from diskyard.errors import DiskyardError
from diskyard.kube.http import connect
from diskyard.web import server, tls
from uploadproxy import proxy
from uploadproxy.limits import Limits
from uploadproxy.trust import Trust, harden

GRACE = 30.0
LOOK_AGAIN = 10.0
"""Seconds between two looks at whether there is another certificate: its controller renews it."""


@ending.at_once
def main() -> int:
    """Serve until told to stop; the process's exit code."""
    log.start()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        shown = _shown(os.environ)
        context = tls.context(shown)
        client = connect()
        place = replace(_place(os.environ, context), upkeep=partial(harden, client, context))
        running = server.start(proxy.application(Trust(client), Limits.from_env(os.environ)), place)
    except DiskyardError as error:
        log.logger("uploadproxy").error("cannot begin", error=str(error))
        return 4
    known = shown.certificate.stat().st_mtime
    while not stopped.wait(LOOK_AGAIN):
        known = _renewed(shown, context, known)
    running.stop(GRACE)
    return 0


def _shown(env: Mapping[str, str]) -> tls.Pair:
    """The certificate for clients: a pod's own, if nothing else is said."""
    folder = Path(upload.TLS_DIR)
    certificate = Path(env.get(upload.ENV_CERT) or folder / "tls.crt")
    return tls.Pair(certificate, Path(env.get(upload.ENV_KEY) or folder / "tls.key"))


def _place(env: Mapping[str, str], context: ssl.SSLContext) -> server.Place:
    host = env.get(upload.ENV_ADDRESS) or env.get(cdi.ENV_POD_IP) or "0.0.0.0"
    port = env.get(upload.ENV_PORT, "")
    return server.Place(host, int(port) if port.isdecimal() else upload.PORT, tls=context, lends=True)


def _renewed(shown: tls.Pair, context: ssl.SSLContext, known: float) -> float:
    """Show new connections another certificate, where there is one; when it was written."""
    try:
        written = shown.certificate.stat().st_mtime
        if written != known:
            context.load_cert_chain(shown.certificate, shown.key)
    except (OSError, ssl.SSLError) as error:  # half of it is there: looked at again
        log.logger("uploadproxy").warning("no certificate", error=str(error))
        return known
    return written


if __name__ == "__main__":
    main()
