"""Small discs of a few files: ISO 9660 with the names as they are, for Unix (Rock Ridge) and Windows (Joliet)."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Final

import pycdlib

from diskyard.errors import InvalidRequest

LONGEST: Final = 64
"""Characters of a name that Joliet takes."""
BLOCK: Final = 4096
"""What a disk's size must be a multiple of, for qemu to open it with O_DIRECT."""
MOST: Final = 16 << 20
"""Bytes on a disc: a Secret or a ConfigMap has 1 MiB at most."""


def write(path: Path, label: str, files: Mapping[str, bytes]) -> None:
    """Write a disc with that label and those files, by their paths; whole or not at all. Raises InvalidRequest."""
    _check(path, files)
    disc = pycdlib.PyCdlib()
    disc.new(interchange_level=3, vol_ident=label, joliet=3, rock_ridge="1.09")
    made: dict[PurePosixPath, str] = {PurePosixPath("/"): ""}
    for number, (name, content) in enumerate(sorted(files.items())):
        whole = PurePosixPath("/") / name
        for parent in reversed(whole.parents[:-1]):
            if parent not in made:
                made[parent] = f"{made[parent.parent]}/D{len(made):07}"
                disc.add_directory(made[parent], rr_name=parent.name, joliet_path=str(parent))
        plain = f"{made[whole.parent]}/F{number:07}.;1"
        disc.add_fp(BytesIO(content), len(content), plain, rr_name=whole.name, joliet_path=str(whole))
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    disc.write(str(part))
    disc.close()
    with part.open("r+b") as file:
        file.truncate(-(-part.stat().st_size // BLOCK) * BLOCK)
    part.replace(path)


def _check(path: Path, files: Mapping[str, bytes]) -> None:
    size = sum(map(len, files.values()))
    if size > MOST:
        raise InvalidRequest(
            f"the disc {path.name} would hold {size} bytes of files: at most {MOST} are possible"
        )
    for name in files:
        long = next((part for part in PurePosixPath(name).parts if len(part) > LONGEST), "")
        if long:
            raise InvalidRequest(
                f"the disc {path.name} cannot hold {long!r}: a name on it has at most {LONGEST} characters"
            )
