"""What is measured, against whom, and what is to be reached: the import engine's goals."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from peers import (
    ARIA,
    CURL,
    DRIVER,
    GZIP,
    LAYER_MODEL,
    MODEL,
    NBDKIT,
    NOWHERE,
    RAW_MODEL,
    SKOPEO,
    XZ,
    ZSTD,
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    name: str
    title: str
    image: str
    door: str = "plain"
    goals: Mapping[str, float | None] = field(default_factory=dict)
    """Peer -> how many times faster than it; None: only shown."""
    once: tuple[str, ...] = ()
    """Peers for the picture, in the first round only: they take long, or hang."""
    memory: int = 96
    """MiB resident at most."""
    small: bool = False
    """Whether the small image tells enough."""
    disk: int = 0
    """Bytes that the target's disk takes in a second; 0: as many as it can."""


_CASES: Final = (
    Case("zlib", "qcow2 zlib, HTTP", "zlib.qcow2", goals={CURL: 2.0, ARIA: None, MODEL: 3.0}, once=(DRIVER, NBDKIT)),
    Case("plain", "qcow2 uncompressed, HTTP", "plain.qcow2", goals={CURL: 1.7, MODEL: 3.5}, once=(DRIVER, NBDKIT)),
    Case("zstd", "qcow2 zstd, HTTP", "zstd.qcow2", goals={CURL: 1.4, MODEL: 2.0}),
    Case("raw", "raw with holes, HTTP", "disk.raw", goals={NOWHERE: 1 / 1.1, RAW_MODEL: 1.8, CURL: 5.0}, memory=64),
    Case("gz", "raw.gz, HTTP", "disk.raw.gz", goals={GZIP: 1.6}),
    Case("registry", "registry layer, qcow2 zlib in tar.gz", "zlib.oci", "registry", {SKOPEO: 2.5, LAYER_MODEL: 2.6}),
    Case(
        "registry-plain", "registry layer, qcow2 uncompressed in tar.gz", "plain.oci", "registry",
        {SKOPEO: 2.5, LAYER_MODEL: 2.6},
    ),
    Case("slow", "qcow2 zlib, 50 MB/s for each connection", "zlib.qcow2", "slow", {CURL: 5.0, ARIA: 2.0, MODEL: 6.0}),
    Case("out-of-order", "qcow2 zlib written with -W", "out-of-order.qcow2", goals={CURL: 1.9}),
    Case("fragmented", "qcow2 written by a guest at random", "fragmented.qcow2", goals={CURL: 1.0}),
    Case("vmdk", "vmdk streamOptimized", "disk.vmdk", goals={CURL: None, MODEL: None}),
    Case("tls", "qcow2 zlib, HTTPS", "zlib.qcow2", "tls", {CURL: None}),
    Case("zst", "raw.zst, HTTP", "disk.raw.zst", goals={ZSTD: None}),
    Case("s3", "qcow2 zlib, S3 (moto)", "zlib.qcow2", "s3", {CURL: None}, small=True),
    Case("xz", "raw.xz, HTTP", "disk.raw.xz", goals={XZ: None}, small=True),
    Case("narrow", "qcow2 zlib over 8 connections of 20 MB/s", "zlib.qcow2", "narrow"),
    Case(
        "slow-disk", "qcow2 zlib onto a disk of 200 MB/s", "zlib.qcow2", goals={CURL: None}, small=True, disk=200 << 20
    ),
    Case("huge", "1 TiB qcow2 with 1 GiB of data", "huge.qcow2", goals={CURL: 1.0}),
)  # fmt: skip
CASES: Final[Mapping[str, Case]] = {case.name: case for case in _CASES}
