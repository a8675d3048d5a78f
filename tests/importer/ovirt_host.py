"""A host of oVirt: the real ovirt-imageio daemon in front of a real qemu-nbd, as hosts run them."""

import http.client
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import trustme

from tests.builders import eventually

CONFIGURATION = """
[daemon]
poll_interval = 0.1
drop_privileges = false
systemd_enable = false
run_dir = {folder}
[tls]
key_file = {folder}/key.pem
cert_file = {folder}/cert.pem
[remote]
host = 127.0.0.1
port = 0
[local]
enable = false
[control]
socket = {folder}/control
remove_timeout = 5
[handlers]
keys = stderr
[logger_root]
level = INFO
handlers = stderr
"""


@dataclass
class Host:
    """Where its daemon listens, and the disks that it can open."""

    folder: Path
    port: int
    size: int
    tickets: list[str] = field(default_factory=list)

    def open(self, url: str = "") -> str:
        """A new ticket's URL; of the disk behind NBD unless another is said."""
        name = str(uuid4())
        size = Path(url.removeprefix("file://")).stat().st_size if url.startswith("file://") else self.size
        ticket = {
            "uuid": name, "size": size, "url": url or f"nbd:unix:{self.folder}/nbd", "timeout": 60,
            "ops": ["read"],
        }  # fmt: skip
        self._control("PUT", name, json.dumps(ticket).encode())
        self.tickets.append(name)
        return f"https://127.0.0.1:{self.port}/images/{name}"

    def close(self, name: str) -> None:
        """A ticket is of no use any more."""
        self._control("DELETE", name)
        self.tickets.remove(name)

    def _control(self, method: str, name: str, body: bytes | None = None) -> None:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.folder / "control"))
        connection.request(method, f"/tickets/{name}", body)
        assert connection.getresponse().status in (200, 204)
        connection.close()


@contextmanager
def host(disk: Path, folder: Path, authority: trustme.CA) -> Iterator[Host]:
    """One that runs."""
    pair = authority.issue_cert("127.0.0.1")
    pair.private_key_pem.write_to_path(folder / "key.pem")
    pair.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    (folder / "conf.d").mkdir()
    (folder / "conf.d/50-test.conf").write_text(CONFIGURATION.format(folder=folder))
    nbd = ["qemu-nbd", "--read-only", "--persistent", "--shared=8", "--format=raw", "--export-name="]
    daemon = [sys.executable, "-c", "from ovirt_imageio._internal import server; server.main()"]
    with (folder / "log").open("w") as log:
        processes = [
            subprocess.Popen([*nbd, f"--socket={folder}/nbd", str(disk)]),
            subprocess.Popen([*daemon, "--conf-dir", str(folder)], stderr=log),
        ]
    try:
        eventually((folder / "nbd").is_socket)
        eventually(lambda: "Ready for requests" in (folder / "log").read_text())
        listening = re.findall(r"listening on \('127\.0\.0\.1', (\d+)\)", (folder / "log").read_text())
        yield Host(folder, int(listening[0]), disk.stat().st_size)
    finally:
        for process in processes:
            process.kill()
            process.wait()
