"""Thousands who connect and say nothing take the API server from nobody else."""

import resource
import socket
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from diskyard.api.meta import NAMESPACE, Key
from tests.builders import eventually
from tests.served import LOCALHOST, served

IDLE = 10_000


def test_ten_thousand_idle_connections_leave_room_for_the_next(tmp_path: Path) -> None:
    count = min(IDLE, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
    with served(tmp_path) as yard, ExitStack() as stack:
        port = urlsplit(yard.url).port
        for _ in range(count):
            idle = stack.enter_context(socket.socket())
            idle.settimeout(60)
            idle.connect((LOCALHOST, port))

        assert eventually(lambda: yard.client.get(NAMESPACE, Key("default")), 60)
