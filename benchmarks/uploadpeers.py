"""Who takes the same upload beside us: nginx with a PUT to disk, and a model of CDI's own path (model.go)."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from tests.builders import eventually
from tests.uploadproxy.pod import HOST, free_port, write_certificates

MODEL = Path(__file__).with_name("model.go")
NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log off; client_max_body_size 0; client_body_temp_path {folder}/body; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port} {tls}; ssl_certificate {keys}/tls.crt; ssl_certificate_key {keys}/tls.key;
    location / {{ root {folder}/files; dav_methods PUT; }}
  }}
}}
"""


@dataclass(frozen=True)
class Peer:
    """A server that runs: where an image goes, and what its processes cost."""

    url: str
    method: str
    disk: Path
    processes: tuple[Path, ...]
    durable: bool
    """Whether the disk is on disk when it answers."""


@contextmanager
def nginx(folder: Path, keys: Path, *, tls: bool) -> Iterator[Peer]:
    (folder / "files").mkdir(parents=True)
    port = free_port()
    text = NGINX.format(folder=folder, port=port, keys=keys, tls="ssl" if tls else "")
    (folder / "conf").write_text(text)
    process = subprocess.Popen(["/usr/sbin/nginx", "-c", folder / "conf"], stderr=subprocess.DEVNULL)
    url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    with _ended(process):
        eventually(lambda: _listens(url), 60)
        yield Peer(f"{url}/image", "PUT", folder / "files" / "image", (_proc(process),), durable=False)


@contextmanager
def model(program: Path, folder: Path, keys: Path) -> Iterator[Peer]:
    """CDI's proxy and upload server, as a model."""
    folder.mkdir()
    write_certificates(folder, "127.0.0.1")
    pair, client = (folder / "server" / "tls.crt", folder / "server" / "tls.key"), folder / "client"
    server = _said([program, "server", *pair, folder / "server" / "ca.crt", folder])
    with _ended(server[0]):
        proxy = _said(
            [program, "proxy", keys / "tls.crt", keys / "tls.key", client / "tls.crt", client / "tls.key",
             folder / "servers.crt", server[1], HOST]
        )  # fmt: skip
        with _ended(proxy[0]):
            processes = (_proc(proxy[0]), _proc(server[0]))
            yield Peer(f"{proxy[1]}/v1beta1/upload", "POST", folder / "disk.img", processes, durable=True)


def built(folder: Path) -> Path | None:
    """The model, compiled; None where there is no Go."""
    program = folder / "upload-model"
    try:
        subprocess.run(["go", "build", "-o", program, MODEL], check=True, cwd="/")
    except FileNotFoundError:
        return None
    return program


def _said(command: list[str | Path]) -> tuple["subprocess.Popen[str]", str]:
    """A program, and the URL on its first line."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, process.stdout.readline().strip()


@contextmanager
def _ended(process: "subprocess.Popen[str] | subprocess.Popen[bytes]") -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        process.communicate()


def _listens(url: str) -> bool:
    with requests.Session() as session:
        session.trust_env = False
        try:
            return session.get(url, verify=False, timeout=10).status_code > 0
        except requests.ConnectionError:
            return False


def _proc(process: "subprocess.Popen[str] | subprocess.Popen[bytes]") -> Path:
    return Path(f"/proc/{process.pid}")


def cpu_of(process: Path) -> float:
    """Seconds of a processor that it, and what it has started and seen end, has used."""
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def peak_of(process: Path) -> int:
    """Bytes that were resident at most."""
    lines = (process / "status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if "VmHWM" in line)
