"""Holds one claim for a guest that already runs: whoever connects to the socket is handed its disk as an open file."""

import os
import socket
from contextlib import closing, suppress
from pathlib import Path
from typing import NoReturn

from diskyard import log
from diskyard.api.instance import Claim
from diskyard.api.names import kubevirt
from diskyard.api.names.cdi import DISK_FILE
from diskyard.errors import DiskyardError, InvalidRequest
from vm_runtime.launcher import disks
from vm_runtime.launcher.place import Place

_log = log.logger("lender")


def lend(volume: str, size: int, place: Place) -> NoReturn:
    """Serve until the pod ends; an empty claim gets a disk of that size. Raises InvalidRequest, NoSpace at once."""
    os.close(_opened(volume, size, place))
    path = place.private / kubevirt.LENDER_SOCKET
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        while True:
            client, _ = listener.accept()
            with closing(client), suppress(OSError):
                _answer(client, volume, size, place)


def _answer(client: socket.socket, volume: str, size: int, place: Place) -> None:
    try:
        file = _opened(volume, size, place)
    except DiskyardError as failure:
        _log.warning(str(failure))
        client.sendall(str(failure).encode())
        return
    try:
        socket.send_fds(client, [b"."], [file])
    finally:
        os.close(file)


def _opened(volume: str, size: int, place: Place) -> int:
    """Raises InvalidRequest, NoSpace."""
    directory = place.disks / volume
    path = directory / DISK_FILE if directory.is_dir() else place.devices / volume
    if directory.is_dir() and not os.path.lexists(path):
        disks.make(path, Claim(volume, block=False, size=size))
    return _open(path, volume)


def _open(path: Path, volume: str) -> int:
    """To be written, unless the claim is there to be read alone."""
    way = os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY
    try:
        return os.open(path, way | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as failure:
        raise InvalidRequest(f"volume {volume}: its disk cannot be opened: {failure.strerror}") from failure
