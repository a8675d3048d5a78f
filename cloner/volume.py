"""The volume that is served: a block device, or a folder with a disk or with any files."""

import io
import tarfile
from pathlib import Path
from typing import Any, Final

from diskyard import linux
from diskyard.api.names import cdi
from diskyard.disk.image import FileImage
from diskyard.disk.wire import Send
from diskyard.errors import SourceMissing

_RECORD: Final = 256 << 10
_LOST: Final = "lost+found"


class SourceVolume:
    """One volume of this pod, read only."""

    def __init__(self, folder: Path, device: Path) -> None:
        self._folder = folder
        self._path = device if linux.is_device(device) else folder / cdi.DISK_FILE
        self._image: FileImage | None = None

    def disk(self) -> FileImage:
        """Its disk, opened once. Raises SourceMissing."""
        if self._image is None:
            try:
                self._image = FileImage(self._path)
            except OSError as error:
                raise SourceMissing(
                    f"the source volume has no {cdi.DISK_FILE} that can be read ({error.strerror}): expected a disk; "
                    "to clone any other files, set contentType archive"
                ) from error
        return self._image

    def files(self, send: Send) -> None:
        """All its files, owners by number."""
        with tarfile.open(fileobj=_Sink(send), mode="w|", bufsize=_RECORD, format=tarfile.PAX_FORMAT) as tar:
            for each in sorted(self._folder.iterdir()):
                if each.name != _LOST:
                    tar.add(each, each.name)


class _Sink(io.RawIOBase):
    """What tarfile writes to."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def writable(self) -> bool:
        return True

    def write(self, part: Any, /) -> int:
        view = memoryview(part)
        self._send(view)
        return len(view)
