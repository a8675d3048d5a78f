"""The guest's whole system: busybox, a few kernel modules and `init.sh`, in one archive that the kernel unpacks."""

import gzip
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from demo.command import run
from demo.kernel import Kernel
from diskyard.errors import Refused

HEAD: Final = 8 << 20
"""Bytes at the start of its disk whose SHA-256 the guest prints."""

SCRIPT: Final = Path(__file__).with_name("init.sh")
BLOCK_MODULES: Final = ("virtio_pci", "virtio_blk", "ata_piix", "ahci", "sd_mod")
LATER_MODULES: Final = ("button", "evdev", "virtio_net", "virtio_console", "virtio_scsi", "isofs")
NO_FILES: Final[Mapping[str, Path]] = {}
FOLDERS: Final = ("bin", "dev", "etc", "modules", "proc", "sys", "tmp")


def initramfs(kernel: Kernel, extra: str = "", files: Mapping[str, Path] = NO_FILES) -> bytes:
    """The compressed archive; `extra` are lines of shell that run after the banner, `files` what else is in it."""
    block = kernel.modules(BLOCK_MODULES)
    later = [module for module in kernel.modules(LATER_MODULES) if module not in block]
    with tempfile.TemporaryDirectory() as work:
        root = Path(work)
        for folder in FOLDERS:
            root.joinpath(folder).mkdir()
        for module in (*block, *later):
            shutil.copy(module, root / "modules")
        shutil.copy(_busybox(), root / "bin/busybox")
        for applet in run(root / "bin/busybox", "--list").split():
            if applet != "busybox":
                root.joinpath("bin", applet).symlink_to("busybox")
        for name, file in files.items():
            root.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, root / name)
        if "init" not in files:
            root.joinpath("init").write_text(_script(block, later, extra))
        root.joinpath("init").chmod(0o755)
        return gzip.compress(_archive(root), 9, mtime=0)


def _script(block: list[Path], later: list[Path], extra: str) -> str:
    text = SCRIPT.read_text()
    for mark, value in {
        "@BLOCK_MODULES@": " ".join(module.stem for module in block),
        "@LATER_MODULES@": " ".join(module.stem for module in later),
        "@HEAD@": str(HEAD),
        "@HEAD_MIB@": str(HEAD >> 20),
        "@EXTRA@": extra,
    }.items():
        text = text.replace(mark, value)
    return text


def _archive(root: Path) -> bytes:
    names = sorted(path.relative_to(root) for path in root.rglob("*"))
    target = root.with_suffix(".cpio")
    try:
        run(
            "cpio", "--create", "--format=newc", "--owner=+0:+0", "--reproducible", "--file", target,
            cwd=root, given="\n".join(map(str, names)).encode(),
        )  # fmt: skip
        return target.read_bytes()
    finally:
        target.unlink(missing_ok=True)


def _busybox() -> Path:
    found = shutil.which("busybox")
    if not found:
        raise Refused("the program busybox is not installed: run ./packages.sh")
    return Path(found)
