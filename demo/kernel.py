"""Debian's own cloud kernel: fetched as a package and unpacked into a folder; nothing is installed, no root needed."""

import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from demo.command import run
from diskyard.errors import Refused, SourceUnavailable

PACKAGE: Final = "linux-image-cloud-amd64"
"""A metapackage: it depends on the newest kernel built for virtual machines."""


@dataclass(frozen=True)
class Kernel:
    """A kernel image and its modules, as the package has them."""

    folder: Path

    @property
    def version(self) -> str:
        """`6.1.0-56-cloud-amd64`."""
        return self.image.name.removeprefix("vmlinuz-")

    @property
    def image(self) -> Path:
        """The compressed kernel that a boot loader starts."""
        return next((self.folder / "boot").glob("vmlinuz-*"))

    def modules(self, wanted: Iterable[str]) -> list[Path]:
        """The files of these modules, each after what it depends on."""
        files = {file.stem: file for file in (self.folder / "lib/modules").rglob("*.ko")}
        ordered: dict[str, Path] = {}

        def visit(name: str) -> None:
            if name in ordered or name not in files:  # a module that is not there is built in
                return
            for needed in _dependencies(files[name]):
                visit(needed)
            ordered[name] = files[name]

        for name in wanted:
            visit(name)
        return list(ordered.values())


def kernel(cache: Path) -> Kernel:
    """The kernel in `cache`, fetched first if it is not there. Raises SourceUnavailable."""
    kept = cache / "kernel"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".kernel-") as work:
            folder = Path(work, "kernel")
            run("dpkg-deb", "--extract", _package(Path(work)), folder)
            shutil.rmtree(folder / "usr", ignore_errors=True)
            folder.rename(kept)
    return Kernel(kept)


def _package(folder: Path) -> Path:
    listed = run("apt-cache", "depends", PACKAGE)
    concrete = re.search(r"Depends: (linux-image-\S+)", listed)
    if not concrete:
        raise SourceUnavailable(
            f"expected apt to know a kernel behind {PACKAGE}, found none: run `sudo apt-get update` and try again"
        )
    try:
        run("apt-get", "download", "--quiet", concrete[1], cwd=folder)
    except Refused as error:
        raise SourceUnavailable(f"{error}: run `sudo apt-get update` and try again") from error
    return next(folder.glob("*.deb"))


def _dependencies(module: Path) -> list[str]:
    # The .modinfo section holds NUL-separated `key=value` texts (include/linux/moduleparam.h).
    found = re.search(rb"\0depends=([^\0]*)\0", module.read_bytes())
    names = found[1].decode().split(",") if found else []
    return [name for name in names if name]
