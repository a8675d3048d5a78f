"""A Source in memory that can be told to break off, to stop the process's work, or to be another one."""

from collections.abc import Callable


class Bytes:
    """The bytes of `body`, at most `step` at once; `before(offset)` runs before each read and may raise."""

    def __init__(
        self,
        body: bytes,
        validator: str | None = "v1",
        *,
        ranged: bool = True,
        sized: bool = True,
        before: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.size = len(body) if sized else None
        self.validator = validator
        self.ranged = ranged
        self.read = 0
        self._body = body
        self._before = before

    def readinto(self, buf: memoryview, offset: int) -> int | None:
        self._before(offset)
        piece = self._body[offset : offset + min(len(buf), 1 << 20)]
        buf[: len(piece)] = piece
        self.read += len(piece)
        return len(piece)

    def close(self) -> None:
        pass


def breaking(at: int, error: BaseException) -> Callable[[int], None]:
    """For `before`: raises once the source has been read up to `at`."""

    def before(offset: int) -> None:
        if offset >= at:
            raise error

    return before
