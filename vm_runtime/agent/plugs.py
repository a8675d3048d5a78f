"""Carries disks to launchers whose guests run: an open file from the pod that holds a claim, with an order."""

import json
import os
import socket
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from diskyard.api.names import kubevirt
from diskyard.errors import Passing
from diskyard.kube.client import Client
from vm_runtime.agent.mailbox import Mailbox

PATIENCE: Final = 5.0
"""Seconds: other guests of the node wait meanwhile. An order that takes longer is carried out all the same."""
LINE_LIMIT: Final = 1 << 16


@dataclass(frozen=True)
class Plug:
    """Give a guest a disk. What its launcher has against it, the launcher reports."""

    launcher: Mailbox
    lender: Mailbox
    volume: str

    def carry_out(self, _client: Client) -> None:
        """Raises Passing while either does not listen."""
        file = _lent(self.lender)
        try:
            _order(self.launcher, "attach", self.volume, file)
        finally:
            os.close(file)


@dataclass(frozen=True)
class Unplug:
    """Take a disk from a guest; that it has gone, its launcher reports."""

    launcher: Mailbox
    volume: str

    def carry_out(self, _client: Client) -> None:
        """Raises Passing while the launcher does not listen."""
        _order(self.launcher, "detach", self.volume)


@dataclass(frozen=True)
class Grow:
    """Have a guest's disk take what its claim gives by now; how large it is, its launcher reports."""

    launcher: Mailbox
    volume: str

    def carry_out(self, _client: Client) -> None:
        """Raises Passing while the launcher does not listen."""
        _order(self.launcher, "grow", self.volume)


def _lent(lender: Mailbox) -> int:
    try:
        with closing(lender.connect(kubevirt.LENDER_SOCKET)) as connection:
            connection.settimeout(PATIENCE)
            said, files, _, _ = socket.recv_fds(connection, LINE_LIMIT, 1)
    except OSError as failure:
        raise Passing(f"the pod that holds the claim does not answer yet: {failure}") from failure
    if not files:
        raise Passing(said.decode(errors="replace") or "the pod that holds the claim gave no disk")
    return files[0]


def _order(launcher: Mailbox, verb: str, volume: str, *files: int) -> None:
    line = json.dumps({"do": verb, "with": {"name": volume}}).encode() + b"\n"
    try:
        with closing(launcher.connect()) as connection:
            connection.settimeout(PATIENCE)
            socket.send_fds(connection, [line], files)
            connection.recv(LINE_LIMIT)
    except OSError as failure:
        raise Passing(f"the guest's launcher does not answer: {failure}") from failure
