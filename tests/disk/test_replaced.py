"""A folder that is removed and made again under a running import holds another one's files: they are left alone."""

import os
from pathlib import Path

import pytest

from diskyard.disk.ingest import ingest
from diskyard.disk.target import Target
from diskyard.errors import Busy
from tests.disk.sources import Bytes

PART = 32 << 20


def test_what_another_import_writes_in_a_replaced_folder_is_never_published(tmp_path: Path) -> None:
    target = Target(tmp_path / "fresh" / "disk.img")
    target.folder.mkdir()

    def replace_folder(offset: int) -> None:
        if offset == PART:
            target.folder.rename(tmp_path / "moved")
            target.folder.mkdir()
            target.part.write_bytes(b"half of another disk")

    with pytest.raises(Busy, match="removed or replaced meanwhile"):
        ingest(Bytes(os.urandom(2 * PART), before=replace_folder), target)

    assert not target.path.exists()
    assert target.part.read_bytes() == b"half of another disk"
