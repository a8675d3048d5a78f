"""A claim that is cloned, read from its cloner: the disk as an Image, or the files as the Source of a tar stream."""

import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from diskyard.api.job import ImportJob
from diskyard.api.names import clone
from diskyard.disk.image import Lasting
from diskyard.disk.source import Source
from diskyard.disk.wire import WireFiles, WireImage
from diskyard.errors import InvalidRequest, SourceUnavailable

_PATIENCE: Final = 20.0
"""Seconds for the other end to shake hands."""
_SILENCE: Final = 300.0
"""Seconds without a byte in the middle of an answer after which another connection is tried."""


@contextmanager
def disk(job: ImportJob) -> Iterator[Lasting]:
    """The source's disk. Raises SourceUnavailable, SourceMissing, InvalidRequest."""
    with closing(WireImage(_connector(job.endpoint))) as image:
        yield image


def files(job: ImportJob) -> Source:
    """The source's files. Raises the same."""
    connect = _connector(job.endpoint)
    try:
        return WireFiles(connect)
    except OSError as error:
        raise SourceUnavailable(f"the clone's source at {job.endpoint}: {error}") from error


def _connector(endpoint: str) -> Callable[[], ssl.SSLSocket]:
    parts = urlsplit(endpoint)
    if parts.scheme != clone.SCHEME or not parts.hostname or not parts.port:
        raise InvalidRequest(f"expected {clone.SCHEME}://ADDRESS:PORT/WHAT, found {endpoint!r}")
    where = (parts.hostname, parts.port)
    context = _context(Path(os.environ.get(clone.ENV_KEYS, clone.KEYS_DIR)))

    def connect() -> ssl.SSLSocket:
        link = socket.create_connection(where, timeout=_PATIENCE)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        safe = context.wrap_socket(link, server_hostname=clone.HOST)
        safe.settimeout(_SILENCE)
        return safe

    return connect


def _context(keys: Path) -> ssl.SSLContext:
    """Trusts this copy's own authority and nobody else."""
    try:
        found = ssl.create_default_context(cafile=keys / clone.AUTHORITY_ENTRY)
        certificate, key = clone.CLIENT_ENTRIES
        found.load_cert_chain(keys / certificate, keys / key)
    except OSError as error:
        raise InvalidRequest(f"expected the keys of a clone in {keys}: {error}") from error
    found.minimum_version = ssl.TLSVersion.TLSv1_3
    return found
