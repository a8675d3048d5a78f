"""Tar archives as tests need them, well made or not."""

import io
import tarfile
from collections.abc import Iterable
from typing import Any


def entry(name: str, body: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A member; `fields` are TarInfo's: type, linkname, mode, pax_headers ..."""
    made = tarfile.TarInfo(name)
    made.size = len(body)
    for field, value in fields.items():
        setattr(made, field, value)
    return made, body


def folder(name: str, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A directory."""
    return entry(name, type=tarfile.DIRTYPE, mode=fields.pop("mode", 0o755), **fields)


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    """A symbolic link; `kind` may say another."""
    return entry(name, type=kind, linkname=target)


def tar(entries: Iterable[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.GNU_FORMAT) -> bytes:
    """An archive of these members."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as archive:
        for member, body in entries:
            archive.addfile(member, io.BytesIO(body))
    return made.getvalue()
