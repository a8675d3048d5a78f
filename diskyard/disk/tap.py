"""A Source that is read in order, while its digest is computed."""

from diskyard.disk.digest import Digest
from diskyard.disk.source import Source


class Tap:
    """Every byte that passes goes into the digest once, in order, from `position` on."""

    ranged = False

    def __init__(self, source: Source, digest: Digest, position: int = 0) -> None:
        self.size = source.size
        self.validator = source.validator
        self.digest = digest
        self.position = position
        self._source = source

    def readinto(self, buf: memoryview, offset: int) -> int | None:
        if offset != self.position:
            raise ValueError(f"a digest only goes forward: at {self.position}, asked for {offset}")
        count = self._source.readinto(buf, offset)
        if count:
            self.digest.update(buf[:count])
            self.position += count
        self.size = self._source.size
        return count

    def close(self) -> None:
        self._source.close()
