"""qemu's guest agent, as Debian has it, and the libraries that it needs: for a guest that answers its host."""

import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from demo.command import run
from diskyard.errors import Refused, SourceUnavailable

PACKAGE: Final = "qemu-guest-agent"
PROGRAM: Final = "usr/sbin/qemu-ga"


def agent(cache: Path) -> dict[str, Path]:
    """Where each file is to be in the guest, and where it is here. Raises SourceUnavailable."""
    kept = cache / "agent"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".agent-") as work:
            try:
                run("apt-get", "download", "--quiet", PACKAGE, cwd=Path(work))
            except Refused as error:
                raise SourceUnavailable(f"{error}: run `sudo apt-get update` and try again") from error
            folder = Path(work, "agent")
            run("dpkg-deb", "--extract", next(Path(work).glob("*.deb")), folder)
            shutil.move(folder, kept)
    program = kept / PROGRAM
    return {"sbin/qemu-ga": program, **libraries(program)}


def libraries(program: Path) -> dict[str, Path]:
    """What else a program needs in a guest to run there."""
    needed = re.findall(r"(/\S+) \(0x", run("ldd", program))
    return {path.lstrip("/"): Path(path) for path in needed}
