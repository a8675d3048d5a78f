"""A local file as a Source."""

import os
from pathlib import Path

from diskyard.errors import AccessDenied, InvalidRequest, SourceMissing


class FileSource:
    """The bytes of a file of this machine."""

    ranged = True

    def __init__(self, path: Path) -> None:
        """Raises SourceMissing, AccessDenied, InvalidRequest."""
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise SourceMissing(f"there is no file at {path}: correct the path") from error
        except PermissionError as error:
            raise AccessDenied(f"this user may not read {path}: change its mode, or the user") from error
        if not path.is_file():
            os.close(self._fd)
            raise InvalidRequest(f"expected a file at {path}, found something else")
        facts = os.fstat(self._fd)
        self.size: int | None = facts.st_size
        self.validator: str | None = f"{facts.st_dev}-{facts.st_ino}-{facts.st_size}-{facts.st_mtime_ns}"

    def readinto(self, buf: memoryview, offset: int) -> int | None:
        return os.preadv(self._fd, [buf], offset)

    def close(self) -> None:
        os.close(self._fd)
