"""A Source whose digest is computed while something else reads it: what is unpacked on the way."""

from diskyard.disk.digest import Digest
from diskyard.disk.source import Source, check_forward


class Tap:
    """Every byte that passes goes into the digest, once and in order."""

    ranged = False

    def __init__(self, source: Source, digest: Digest | None) -> None:
        self.size = source.size
        self.validator = source.validator
        self.position = 0
        self._source = source
        self._digest = digest

    def readinto(self, buf: memoryview, offset: int) -> int | None:
        check_forward(self.position, offset)
        count = self._source.readinto(buf, offset)
        if count:
            if self._digest:
                self._digest.update(buf[:count])
            self.position += count
        self.size = self._source.size
        return count

    def close(self) -> None:
        self._source.close()
