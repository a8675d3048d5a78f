"""A raw stream is its disk."""

from collections.abc import Callable, Iterable

from diskyard.disk.decoder import Piece
from diskyard.disk.extent import Range


class RawDecoder:
    """Every chunk lies where it came from."""

    def __init__(self, check: Callable[[int], None]) -> None:
        """`check` refuses a stream that has become too long."""
        self.size = 0
        self.anywhere = True
        self._check = check

    def feed(self, offset: int, chunk: memoryview) -> Iterable[Piece]:
        self.size = offset + len(chunk)
        self._check(self.size)
        return [Piece(offset, len(chunk), chunk)]

    def rest(self) -> Iterable[Piece]:
        return ()

    def missed(self) -> list[Range]:
        return []
