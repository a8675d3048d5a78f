"""Uploads through proxy and server, over TLS all the way, beside nginx that takes the same PUT to disk.

    .venv/bin/python benchmarks/uploads.py [MIB]

Prints seconds, processor seconds per GiB that was sent, and the peak memory of an upload server. Medians of three.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

sys.path.insert(0, str(Path(__file__).parents[1]))

from diskyard.web import server
from diskyard.web.tls import Pair, context
from standalone.store.objects import Objects
from tests.builders import eventually
from tests.uploadproxy.front import Front, front
from tests.uploadproxy.pod import free_port
from uploadproxy import proxy
from uploadproxy.trust import Trust

MIB = 1 << 20
ROUNDS = 3
NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log off; client_max_body_size 0; client_body_temp_path {folder}/body; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port} ssl; ssl_certificate {keys}/tls.crt; ssl_certificate_key {keys}/tls.key;
    location / {{ root {folder}/files; dav_methods PUT; }}
  }}
}}
"""


@dataclass(frozen=True)
class Cost:
    """What one upload took."""

    wall: float
    cpu: float
    resident: int = 0


def main(size: int) -> None:
    with tempfile.TemporaryDirectory(dir=Path.home() / ".cache" / "diskyard") as made:
        folder = Path(made)
        raw = write_raw(folder / "image.raw", size)
        packed = folder / "image.qcow2"
        subprocess.run(["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", raw, packed], check=True)
        with tls(folder) as place:
            for image in (raw, packed):
                show(image, place, folder)


def write_raw(path: Path, size: int) -> Path:
    """Half holes, half text-like bytes that compress to about a half."""
    with path.open("wb") as file:
        for at in range(0, size, 16):
            file.seek(at * MIB)
            file.write(os.urandom(4 * MIB) + b"0123456789abcdef" * (MIB // 4))
        file.truncate(size * MIB)
    return path


@contextmanager
def tls(folder: Path) -> Iterator[server.Place]:
    """Where proxies listen."""
    issued = trustme.CA().issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(folder / "tls.key")
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(folder / "tls.crt", append=number > 0)
    yield server.Place("127.0.0.1", tls=context(Pair(folder / "tls.crt", folder / "tls.key")), lends=True)


def show(image: Path, place: server.Place, folder: Path) -> None:
    gib = image.stat().st_size / (1 << 30)
    ours, theirs = [], []
    for number in range(ROUNDS):
        theirs.append(nginx(image, folder / f"nginx{number}", folder))
        ours.append(once(image, place, folder / f"{image.suffix}{number}"))
    mine, peer = (statistics.median(each.wall for each in costs) for costs in (ours, theirs))
    cpu = statistics.median(each.cpu for each in ours) / gib
    least = statistics.median(each.cpu for each in theirs) / gib
    peak = max(each.resident for each in ours)
    print(
        f"{image.suffix[1:]} {gib:.2f} GiB: diskyard {mine:.2f} s, nginx PUT {peer:.2f} s, ratio {peer / mine:.2f}; "
        f"CPU s/GiB {cpu:.2f} (proxy and server) vs {least:.2f}; server's peak {peak / MIB:.0f} MiB",
        flush=True,
    )


def once(image: Path, place: server.Place, folder: Path) -> Cost:
    """One POST through a proxy of this process to a server of its own."""
    folder.mkdir()
    with Objects.open(folder / "store.db") as store, front(store, folder, image_size="8Gi") as found:
        url = open_proxy(found, place)
        assert found.pod.process
        pod = Path(f"/proc/{found.pod.process.pid}")
        before, begun = own_cpu() + cpu_of(pod), time.monotonic()
        send(f"{url}/v1beta1/upload", image, found.bearer())
        wall = time.monotonic() - begun
        cpu = own_cpu() + cpu_of(pod) - before
        peak = next(
            int(line.split()[1]) for line in (pod / "status").read_text().splitlines() if "VmHWM" in line
        )
    subprocess.run(["rm", "-rf", folder / "volume"], check=True)
    return Cost(wall, cpu, peak * 1024)


def open_proxy(found: Front, place: server.Place) -> str:
    running = server.start(proxy.application(Trust(found.store)), place)
    found.stack.callback(running.stop)
    return running.url


def own_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def cpu_of(process: Path) -> float:
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def send(url: str, image: Path, headers: dict[str, str], method: str = "POST") -> None:
    said = [part for name, text in headers.items() for part in ("-H", f"{name}: {text}")]
    subprocess.run(
        [
            "curl",
            "-sSfk",
            "--http1.1",
            "-X",
            method,
            "-H",
            "Expect:",
            *said,
            "-T",
            image,
            "-o",
            "/dev/null",
            url,
        ],
        check=True,
    )


def nginx(image: Path, folder: Path, keys: Path) -> Cost:
    """The same bytes by PUT, and on disk."""
    (folder / "files").mkdir(parents=True)
    port = free_port()
    (folder / "conf").write_text(NGINX.format(folder=folder, port=port, keys=keys))
    process = subprocess.Popen(["/usr/sbin/nginx", "-c", folder / "conf"], stderr=subprocess.DEVNULL)
    try:
        probe = ["curl", "-sk", "-o", "/dev/null", f"https://127.0.0.1:{port}/"]
        eventually(lambda: subprocess.run(probe, check=False).returncode == 0, 60)
        begun = time.monotonic()
        send(f"https://127.0.0.1:{port}/image", image, {}, "PUT")
        with (folder / "files" / "image").open("rb") as file:
            os.fsync(file.fileno())
        wall = time.monotonic() - begun
        return Cost(wall, cpu_of(Path(f"/proc/{process.pid}")))
    finally:
        process.terminate()
        process.wait()
        subprocess.run(["rm", "-rf", folder], check=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1024)
