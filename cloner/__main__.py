"""`diskyard-cloner`: serves the volume of its pod over mutual TLS until told to stop.

It knows nothing of where the bytes go; whoever has the one other certificate of this copy reads them, and asks again
from where it was after a kill of either side.
"""

import os
import signal
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from cloner.volume import SourceVolume
from diskyard import ending, log
from diskyard.api.names import cdi, clone
from diskyard.disk import wire

STOPPED: Final = 0
PATIENCE: Final = 30.0
"""Seconds for a client to shake hands."""

logger = log.logger("cloner")


@ending.at_once
def main() -> int:
    """Serve until told to stop; the process's exit code."""
    log.start(log.level(os.environ.get(cdi.ENV_VERBOSITY, "")))
    signal.signal(signal.SIGTERM, _stop)
    env = os.environ
    keys = Path(env.get(clone.ENV_KEYS, clone.KEYS_DIR))
    with suppress(SystemExit):
        tls = context(keys)
        with listening(env) as listener:
            serve(listener, volume(env), tls)
    return STOPPED


def volume(env: Mapping[str, str]) -> SourceVolume:
    """The volume that the environment says."""
    folder = Path(env.get(cdi.ENV_VOLUME_DIR, clone.SOURCE_DIR))
    return SourceVolume(folder, Path(env.get(cdi.ENV_BLOCK_DEVICE, cdi.BLOCK_DEVICE)))


def listening(env: Mapping[str, str]) -> socket.socket:
    """The pod's address alone, not every address of a machine that it shares. Raises OSError."""
    host = env.get(cdi.ENV_POD_IP, "") or "127.0.0.1"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    port = int(env.get(cdi.ENV_METRICS_PORT, clone.PORT))
    return socket.create_server((host, port), family=family, backlog=32)


def context(keys: Path) -> ssl.SSLContext:
    """Only who has a certificate of this copy's own authority is answered."""
    found = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=keys / clone.AUTHORITY_ENTRY)
    found.minimum_version = ssl.TLSVersion.TLSv1_3
    found.verify_mode = ssl.CERT_REQUIRED
    certificate, key = clone.SERVER_ENTRIES
    found.load_cert_chain(keys / certificate, keys / key)
    return found


def serve(listener: socket.socket, source: SourceVolume, tls: ssl.SSLContext) -> None:
    """Answer whoever connects, each on a thread of its own."""
    logger.info("serving", address=listener.getsockname()[:2])
    while True:
        link, _ = listener.accept()
        threading.Thread(target=_answer, args=(source, link, tls), daemon=True).start()


def _answer(source: SourceVolume, link: socket.socket, tls: ssl.SSLContext) -> None:
    with closing(link):
        try:
            link.settimeout(PATIENCE)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            with tls.wrap_socket(link, server_side=True) as safe:
                safe.settimeout(None)
                wire.serve(source, safe)
        except OSError as error:
            logger.warning("a connection broke", because=error)


def _stop(_signal: int, _frame: object) -> None:
    raise SystemExit(STOPPED)


if __name__ == "__main__":
    main()
