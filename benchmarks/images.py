"""The images that imports are measured with, made by public tools and kept in ~/.cache/diskyard/bench.

python benchmarks/images.py [--small] [NAME...]     makes them, or all

A disk is an ext4 with a Debian system: 1.6 GiB in 10 GiB, or with --small about 0.5 GiB in 3 GiB. Needs mmdebstrap,
as root or with user namespaces, and Debian's mirror, once.
"""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diskyard" / "bench"
SUITE: Final = "bookworm"
SYSTEM: Final = "systemd-sysv,openssh-server,python3,git,vim,perl,locales"
SMALL: Final = f"{SYSTEM},linux-image-cloud-amd64"
LARGE: Final = f"{SYSTEM},linux-image-amd64,build-essential,golang-go,docker.io"
GIB: Final = 1 << 30
MIB: Final = 1 << 20
CLUSTER: Final = 64 << 10
HUGE: Final = 1 << 40


@dataclass(frozen=True)
class Shelf:
    """Images of one size; each is made when it is asked for first."""

    small: bool

    @property
    def folder(self) -> Path:
        return CACHE / ("small" if self.small else "large")

    def image(self, name: str) -> Path:
        """The path of an image of RECIPES."""
        path = self.folder / name
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"making-{name}")
            print(f"making {path}", file=sys.stderr, flush=True)
            RECIPES[name](self, part)
            part.rename(path)
        return path

    def oracle(self, name: str) -> tuple[Path, str]:
        """What an image holds according to qemu-img, and the format that it reads there."""
        return (self.image(name), "qcow2") if name in UNLIKE else (self.image("disk.raw"), "raw")


Recipe = Callable[[Shelf, Path], None]


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _root(shelf: Shelf, path: Path) -> None:
    packages = SMALL if shelf.small else LARGE
    run("mmdebstrap", "--quiet", "--variant=minbase", "--format=tar", f"--include={packages}", SUITE, path)


def _raw(shelf: Shelf, path: Path) -> None:
    tree = path.with_suffix(".tree")
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    run("tar", "-xf", shelf.image("root.tar"), "-C", tree, "--exclude=./dev/*")
    path.unlink(missing_ok=True)
    run("mkfs.ext4", "-q", "-d", tree, path, "3G" if shelf.small else "10G")
    shutil.rmtree(tree)


def _converted(kind: str, *options: str) -> Recipe:
    return lambda shelf, path: run(
        "qemu-img", "convert", "-f", "raw", "-O", kind, *options, shelf.image("disk.raw"), path
    )


def _packed(*command: str) -> Recipe:
    def pack(shelf: Shelf, path: Path) -> None:
        with shelf.image("disk.raw").open("rb") as disk, path.open("wb") as packed:
            subprocess.run(command, check=True, stdin=disk, stdout=packed)

    return pack


def _fragmented(shelf: Shelf, path: Path) -> None:
    """What a guest left that wrote each of its clusters once, wherever."""
    count = (128 if shelf.small else 700) * MIB // CLUSTER
    order = random.Random(1).sample(range(2 * count), count)
    run("qemu-img", "create", "-q", "-f", "qcow2", path, str(2 * count * CLUSTER))
    writes = "".join(f"write -q -P {at % 255 + 1} {at * CLUSTER} {CLUSTER}\n" for at in order)
    subprocess.run(
        ["qemu-io", "-t", "unsafe", "-f", "qcow2", path],
        input=writes,
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _huge(shelf: Shelf, path: Path) -> None:
    """1 TiB, with parts of the disk far from one another: 1 GiB, or 128 MiB."""
    part = (8 if shelf.small else 64) * MIB
    disk = path.with_suffix(".raw")
    with shelf.image("disk.raw").open("rb") as source, disk.open("wb") as sparse:
        sparse.truncate(HUGE)
        for index in range(16):
            source.seek(128 * MIB + index * part)
            sparse.seek(index * HUGE // 16)
            sparse.write(source.read(part))
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", disk, path)
    disk.unlink()


def _layout(name: str) -> Recipe:
    """An OCI layout with one layer, a tar.gz that holds the image as /disk/disk.qcow2."""

    def lay(shelf: Shelf, path: Path) -> None:
        shutil.rmtree(path, ignore_errors=True)
        blobs = path / "blobs/sha256"
        blobs.mkdir(parents=True)
        layer, whole = path / "layer", hashlib.sha256()
        rename = f"--transform=s,.*,disk/{Path(name).name},"
        tar = [
            "tar",
            "-C",
            str(shelf.folder),
            "--owner=107",
            "--group=107",
            rename,
            "-c",
            shelf.image(name).name,
        ]
        with layer.open("wb") as packed, subprocess.Popen(tar, stdout=subprocess.PIPE) as taken:
            assert taken.stdout is not None
            gzip = subprocess.Popen(["gzip", "-6"], stdin=subprocess.PIPE, stdout=packed)
            assert gzip.stdin is not None
            while piece := taken.stdout.read(MIB):
                whole.update(piece)
                gzip.stdin.write(piece)
            gzip.stdin.close()
            gzip.wait()
        kind = "application/vnd.oci.image"
        layers = [{"mediaType": f"{kind}.layer.v1.tar+gzip", **_blob(blobs, layer)}]
        rootfs = {"type": "layers", "diff_ids": [f"sha256:{whole.hexdigest()}"]}
        config = _json(path / "json", {"architecture": "amd64", "os": "linux", "rootfs": rootfs})
        described = {"mediaType": f"{kind}.config.v1+json", **_blob(blobs, config)}
        manifest = _json(path / "json", {"schemaVersion": 2, "config": described, "layers": layers})
        listed = {"mediaType": f"{kind}.manifest.v1+json", **_blob(blobs, manifest)}
        _json(path / "index.json", {"schemaVersion": 2, "manifests": [listed]})
        _json(path / "oci-layout", {"imageLayoutVersion": "1.0.0"})

    return lay


def _json(path: Path, said: object) -> Path:
    path.write_text(json.dumps(said))
    return path


def _blob(blobs: Path, file: Path) -> dict[str, str | int]:
    """Move a file where its digest says; its descriptor."""
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    place = file.rename(blobs / digest)
    return {"digest": f"sha256:{digest}", "size": place.stat().st_size}


RECIPES: Final[Mapping[str, Recipe]] = {
    "root.tar": _root,
    "disk.raw": _raw,
    "zlib.qcow2": _converted("qcow2", "-c"),
    "zstd.qcow2": _converted("qcow2", "-c", "-o", "compression_type=zstd"),
    "plain.qcow2": _converted("qcow2"),
    "out-of-order.qcow2": _converted("qcow2", "-c", "-W", "-m", "8"),
    "fragmented.qcow2": _fragmented,
    "huge.qcow2": _huge,
    "disk.vmdk": _converted("vmdk", "-o", "subformat=streamOptimized"),
    "disk.raw.gz": _packed("pigz" if shutil.which("pigz") else "gzip", "-c"),
    "disk.raw.xz": _packed("xz", "-1", "-T1", "-c"),
    "disk.raw.zst": _packed("zstd", "-q", "-c"),
    "zlib.oci": _layout("zlib.qcow2"),
    "plain.oci": _layout("plain.qcow2"),
}
UNLIKE: Final = ("fragmented.qcow2", "huge.qcow2")
"""Images that hold another disk than disk.raw."""


if __name__ == "__main__":
    names = [word for word in sys.argv[1:] if word != "--small"]
    for wanted in names or RECIPES:
        print(Shelf("--small" in sys.argv[1:]).image(wanted))
