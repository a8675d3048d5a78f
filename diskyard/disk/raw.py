"""A raw stream is its disk."""

from collections.abc import Iterable

from diskyard.disk.decoder import Piece
from diskyard.disk.extent import Range
from diskyard.disk.space import check_room


class RawDecoder:
    """Every chunk lies where it came from."""

    def __init__(self, limit: int) -> None:
        """`limit`: bytes behind which the stream is refused."""
        self.size = 0
        self.anywhere = True
        self._limit = limit

    def feed(self, offset: int, chunk: memoryview) -> Iterable[Piece]:
        self.size = offset + len(chunk)
        check_room(self.size, self._limit)
        return [Piece(offset, len(chunk), chunk)]

    def rest(self) -> Iterable[Piece]:
        return ()

    def missed(self) -> list[Range]:
        return []
