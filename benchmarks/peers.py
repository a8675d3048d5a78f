"""The public tools that imports are measured against, each as the script that its users would write.

Each gets URL, FORMAT (what qemu-img calls it), TARGET, SCRATCH (a folder of its own), CURL (a file of options) and
BLOB (a registry layer's URL), and leaves TARGET durable: `sync TARGET` belongs to the time, as our own fsync does.
"""

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

_CONVERT: Final = 'qemu-img convert -W -m 8 -f "$FORMAT" -O raw "$SCRATCH/image" "$TARGET"; sync "$TARGET"'
_TWO_PASSES: Final = """
sync "$SCRATCH/image"
qemu-img convert -t writeback -p -f "$FORMAT" -O raw "$SCRATCH/image" "$TARGET" > /dev/null; sync "$TARGET"
"""


@dataclass(frozen=True)
class Peer:
    """A script for bash, and the programs that it needs."""

    script: str
    needs: tuple[str, ...]
    writes: bool = True
    """Whether it leaves a disk."""

    def missing(self) -> list[str]:
        """What this machine lacks for it."""
        return [name for name in self.needs if not _present(name)]


@cache
def _present(name: str) -> bool:
    if name == "qemu-img with http":
        words = subprocess.run(["qemu-img", "--help"], capture_output=True, text=True, check=True).stdout
        return " http " in words.rpartition("Supported formats:")[2]
    return bool(shutil.which(name))


def _unpacking(command: str) -> Peer:
    disk = 'dd bs=64K iflag=fullblock conv=sparse,fsync status=none of="$TARGET"'
    return Peer(f'curl -sSfK "$CURL" "$URL" | {command} -dc | {disk}', ("curl", command))


CURL: Final = "curl + qemu-img"
ARIA: Final = "aria2c + qemu-img"
DRIVER: Final = "qemu-img's http driver"
NBDKIT: Final = "nbdkit curl + qemu-img"
SKOPEO: Final = "skopeo + tar + qemu-img"
NOWHERE: Final = "curl > /dev/null"
GZIP: Final = "curl | gzip | dd"
XZ: Final = "curl | xz | dd"
ZSTD: Final = "curl | zstd | dd"
MODEL: Final = "model of CDI's two passes"
RAW_MODEL: Final = "model of CDI's two passes, raw"
LAYER_MODEL: Final = "model of CDI's two passes, layer"

PEERS: Final[Mapping[str, Peer]] = {
    CURL: Peer(f'curl -sSfK "$CURL" -o "$SCRATCH/image" "$URL"; {_CONVERT}', ("curl", "qemu-img")),
    ARIA: Peer(
        f'aria2c -q -x 8 -s 8 -k 1M --file-allocation=none -d "$SCRATCH" -o image "$URL"; {_CONVERT}',
        ("aria2c", "qemu-img"),
    ),
    DRIVER: Peer(
        'qemu-img convert -W -m 8 -O raw "json:{\\"driver\\": \\"$FORMAT\\", \\"file.driver\\": \\"http\\",'
        ' \\"file.url\\": \\"$URL\\"}" "$TARGET"; sync "$TARGET"',
        ("qemu-img with http",),
    ),
    NBDKIT: Peer(
        'nbdkit -U - curl "$URL" --run \'qemu-img convert -W -m 8 -f "$FORMAT" -O raw "$uri" "$TARGET"\'\n'
        'sync "$TARGET"',
        ("nbdkit", "qemu-img"),
    ),
    SKOPEO: Peer(
        'skopeo copy -q --src-tls-verify=false "$URL" "dir:$SCRATCH/pulled"\n'
        'tar -xzOf "$SCRATCH/pulled/$(ls -S "$SCRATCH/pulled" | head -1)" > "$SCRATCH/image"\n' + _CONVERT,
        ("skopeo", "tar", "qemu-img"),
    ),
    NOWHERE: Peer('curl -sSfK "$CURL" -o /dev/null "$URL"', ("curl",), writes=False),
    GZIP: _unpacking("gzip"),
    XZ: _unpacking("xz"),
    ZSTD: _unpacking("zstd"),
    MODEL: Peer(f'curl -sSfK "$CURL" -o "$SCRATCH/image" "$URL"\n{_TWO_PASSES}', ("curl", "qemu-img")),
    RAW_MODEL: Peer(
        'curl -sSfK "$CURL" "$URL" | dd bs=64K iflag=fullblock conv=sparse status=none of="$SCRATCH/image"\n'
        + _TWO_PASSES,
        ("curl", "qemu-img"),
    ),
    LAYER_MODEL: Peer(f'curl -sSf "$BLOB" | tar -xzO > "$SCRATCH/image"\n{_TWO_PASSES}', ("curl", "tar", "qemu-img")),
}  # fmt: skip
