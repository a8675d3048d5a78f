"""Uploads through proxy and upload server, beside nginx that takes the same PUT to disk, and a model of CDI's path.

    .venv/bin/python benchmarks/uploads.py [--size MIB] [--only raw-tls,...] [--rounds N]

Prints throughput of the bytes that were sent, processor seconds per GiB of them, and the largest resident memory.
Ratios are medians of the rounds' own. A disk is compared with its image once.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import trustme

sys.path.insert(0, str(Path(__file__).parents[1]))

from uploadpeers import Peer, built, cpu_of, model, nginx, peak_of

from diskyard.web import server
from diskyard.web.tls import Pair, context
from standalone.store.objects import Objects
from tests.uploadproxy.front import Front, front
from uploadproxy import proxy
from uploadproxy.trust import Trust

MIB = 1 << 20
CACHE = Path.home() / ".cache" / "diskyard" / "bench"
CASES = ("raw-plain", "raw-tls", "qcow2-plain", "qcow2-tls")
OURS, NGINX, MODEL = "diskyard", "nginx PUT", "model of CDI"


@dataclass(frozen=True)
class Cost:
    """What one upload took."""

    wall: float
    cpu: float
    resident: int


def main(size: int, cases: list[str], rounds: int) -> None:
    warnings.simplefilter("ignore")  # nobody checks nginx's certificate
    CACHE.mkdir(parents=True, exist_ok=True)
    images = {"raw": raw(size)}
    images["qcow2"] = qcow2(images["raw"])
    program = built(CACHE)
    with tempfile.TemporaryDirectory(dir=CACHE) as made:
        folder = Path(made)
        write_keys(folder)
        for case in cases:
            image, way = case.split("-")
            runs: dict[str, list[Cost]] = {OURS: [], NGINX: [], MODEL: []}
            for number in range(rounds):
                place = folder / f"{case}{number}"
                checked = images["raw"] if number == 0 else None
                with nginx(place.with_suffix(".nginx"), folder, tls=way == "tls") as peer:
                    runs[NGINX].append(sent(peer, images[image], None))
                if program and way == "tls":
                    with model(program, place.with_suffix(".model"), folder) as peer:
                        runs[MODEL].append(sent(peer, images[image], checked))
                runs[OURS].append(ours(images[image], place, way == "tls", checked))
            show(case, images[image], runs)


def raw(size: int) -> Path:
    """Half holes, half bytes of which every other part compresses."""
    path = CACHE / f"upload-{size}.raw"
    if not path.exists():
        with path.open("wb") as file:
            for at in range(0, size, 16):
                file.seek(at * MIB)
                file.write(os.urandom(4 * MIB) + b"0123456789abcdef" * (MIB // 4))
            file.truncate(size * MIB)
    return path


def qcow2(image: Path) -> Path:
    """The same, compressed, its tables before what they map (`-m 1`): otherwise it may have to be sent twice."""
    packed = image.with_suffix(".qcow2")
    if not packed.exists():
        subprocess.run(
            ["qemu-img", "convert", "-c", "-m", "1", "-f", "raw", "-O", "qcow2", image, packed], check=True
        )
    return packed


def write_keys(folder: Path) -> None:
    """What proxies, ours and others, show to clients."""
    issued = trustme.CA().issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(folder / "tls.key")
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(folder / "tls.crt", append=number > 0)


def ours(image: Path, folder: Path, tls: bool, checked: Path | None) -> Cost:
    """One POST through a proxy of this process to a server of its own."""
    folder.mkdir()
    keys = Pair(folder.parent / "tls.crt", folder.parent / "tls.key")
    with Objects.open(folder / "store.db") as store, front(store, folder, image_size="8Gi") as found:
        url = opened(found, server.Place("127.0.0.1", tls=context(keys) if tls else None, lends=True))
        assert found.pod.process
        processes = (Path(f"/proc/{found.pod.process.pid}"),)
        peer = Peer(f"{url}/v1beta1/upload", "POST", found.pod.disk, processes, durable=True)
        return sent(peer, image, checked, found.bearer())


def opened(found: Front, place: server.Place) -> str:
    running = server.start(proxy.application(Trust(found.store)), place)
    found.stack.callback(running.stop)
    return running.url


def sent(peer: Peer, image: Path, checked: Path | None, headers: dict[str, str] | None = None) -> Cost:
    """One upload by curl; what it cost all but curl."""
    with used(peer) as before:
        begun = time.monotonic()
        curl(peer, image, headers or {})
        if not peer.durable:
            with peer.disk.open("rb") as file:
                os.fsync(file.fileno())
        wall = time.monotonic() - begun
        cost = Cost(wall, spent(peer) - before, max(peak_of(each) for each in peer.processes))
    if checked:
        compare = ["qemu-img", "compare", "-q", "-f", "raw", "-F", "raw", str(checked), str(peer.disk)]
        subprocess.run(compare, check=True)
    peer.disk.unlink(missing_ok=True)
    return cost


@contextmanager
def used(peer: Peer) -> Iterator[float]:
    """What was spent before; dirty pages of others are none of this upload's."""
    os.sync()
    yield spent(peer)


def spent(peer: Peer) -> float:
    """Processor seconds of the peer's processes, and of this one: our own proxy is in it."""
    mine = resource.getrusage(resource.RUSAGE_SELF)
    return mine.ru_utime + mine.ru_stime + sum(cpu_of(each) for each in peer.processes)


def curl(peer: Peer, image: Path, headers: dict[str, str]) -> None:
    said = [part for name, text in headers.items() for part in ("-H", f"{name}: {text}")]
    fixed = ["-sSfk", "--http1.1", "-X", peer.method, "-H", "Expect:", "-o", "/dev/null"]
    subprocess.run(["curl", *fixed, *said, "-T", str(image), peer.url], check=True)


def show(case: str, image: Path, runs: dict[str, list[Cost]]) -> None:
    size = image.stat().st_size
    print(f"{case}, {size / (1 << 30):.2f} GiB", flush=True)
    for name, costs in runs.items():
        if not costs:
            continue
        wall, cpu = median(each.wall for each in costs), median(each.cpu for each in costs)
        ratio = median(
            mine.wall and other.wall / mine.wall for mine, other in zip(runs[OURS], costs, strict=True)
        )
        said = "" if name == OURS else f"; diskyard has {ratio:.2f} of its throughput"
        peak = max(each.resident for each in costs) / MIB
        print(
            f"  {name:<13} {wall:6.2f} s {size / MIB / wall:6.0f} MiB/s, CPU {cpu * (1 << 30) / size:5.2f} s/GiB, "
            f"resident {peak:4.0f} MiB{said}",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    main(wanted.size, wanted.only, wanted.rounds)
