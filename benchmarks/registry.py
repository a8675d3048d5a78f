"""A qcow2 in a layer of a registry: one verified pass against skopeo, tar and qemu-img, as ratios of one run.

python benchmarks/registry.py [ROUNDS] [FOLDER]     (docker-registry, skopeo, e2fsprogs; FOLDER keeps the images)

The disk is an ext4 of 10 GiB with this machine's programs and libraries: content as cloud images have it.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.importer.oci import Layout, copy
from tests.importer.registries import Registry, registry

ROUNDS = 5
MIB = 1 << 20
CONTENT = ("/usr/bin", "/usr/lib/x86_64-linux-gnu")
PEER = """
set -e
skopeo copy -q --src-tls-verify=false "$1" "dir:$2/image"
tar -xzf "$2/image/$(ls -S "$2/image" | head -1)" -C "$2"
qemu-img convert -W -m 8 -f qcow2 -O raw "$2/disk/disk.qcow2" "$3"
sync "$3"
"""


@dataclass(frozen=True)
class Run:
    """One import: seconds of wall and CPU, bytes of the largest process."""

    wall: float
    cpu: float
    resident: float


def main(rounds: int, folder: Path) -> None:
    disk = raw_disk(folder)
    print(
        f"medians of {rounds} rounds, each tool in turn\n{'layer':<28}{'wall':>12}{'CPU':>12}{'resident':>14}"
    )
    for name, options in (("zlib clusters", ("-c",)), ("no compression", ())):
        image = converted(disk, folder / f"{name.replace(' ', '-')}.qcow2", options)
        with ExitStack() as last:
            work = Path(last.enter_context(tempfile.TemporaryDirectory(dir=folder)))
            served = last.enter_context(registry(work / "registry", work / "store"))
            with ProcessPoolExecutor(1) as apart:  # for what it keeps in memory would count as its children's
                url = apart.submit(published, image, work / "layout", served).result()
            pairs = [(ours(url, disk, work), peers(url, work)) for _ in range(rounds)]
        show(f"tar.gz, qcow2, {name}", pairs)


def raw_disk(folder: Path) -> Path:
    path = folder / "disk.raw"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=folder) as tree:
            subprocess.run(["cp", "-a", *CONTENT, tree], check=True)
            subprocess.run(["truncate", "-s", "10G", path], check=True)
            subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, path], check=True)
    return path


def converted(disk: Path, image: Path, options: tuple[str, ...]) -> Path:
    if not image.exists():
        subprocess.run(["qemu-img", "convert", *options, "-f", "raw", "-O", "qcow2", disk, image], check=True)
    return image


def published(image: Path, folder: Path, served: Registry) -> str:
    """The image as /disk/disk.qcow2 of a container image; its URL."""
    folder.mkdir()
    packed = folder / "layer.tar"
    with tarfile.open(packed, "w") as archive:
        archive.add(image, "disk/disk.qcow2")
    layout = Layout(folder)
    url = f"docker://{served.host}/disk:v1"
    copy(f"oci:{layout.write(layout.image([packed.read_bytes()], '+gzip'))}", url)
    return url


def ours(url: str, disk: Path, work: Path) -> Run:
    target = work / "ours.raw"
    command = [sys.executable, "-m", "cli", "import", "--insecure", url, str(target)]
    run = measured(command)
    subprocess.run(["cmp", disk, target], check=True)
    target.unlink()
    return run


def peers(url: str, work: Path) -> Run:
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        return measured(["sh", "-c", PEER, "sh", url, scratch, f"{scratch}/disk.raw"])


def measured(command: list[str]) -> Run:
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr
    words = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        raise SystemExit(words.decode())
    return Run(time.monotonic() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def show(name: str, pairs: list[tuple[Run, Run]]) -> None:
    def row(title: str, runs: list[Run]) -> None:
        wall, cpu = median(run.wall for run in runs), median(run.cpu for run in runs)
        resident = max(run.resident for run in runs) / MIB
        print(f"{title:<28}{wall:>10.2f} s{cpu:>10.2f} s{resident:>10.0f} MiB")

    print(name)
    row("  diskyard import", [mine for mine, _ in pairs])
    row("  skopeo + tar + qemu-img", [other for _, other in pairs])
    wall = median(other.wall / mine.wall for mine, other in pairs)
    cpu = median(other.cpu / mine.cpu for mine, other in pairs)
    print(f"{'  ratio (goal: 2.5 wall)':<28}{wall:>10.2f} x{cpu:>10.2f} x", flush=True)


if __name__ == "__main__":
    place = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(tempfile.gettempdir(), "diskyard-benchmark")
    place.mkdir(parents=True, exist_ok=True)
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS, place)
