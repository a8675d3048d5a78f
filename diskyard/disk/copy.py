"""The one loop: fetch, decode, write, with bounded memory.

Buffers go round: a fetcher fills them in the source's order, the decoder says what is in them, workers unpack and
write that, one more thread computes the digest; then they are filled again. What is written, up to which offset of
the source, is told in order, so that it can be made durable.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import local
from typing import Final

from diskyard import linux
from diskyard.disk.decoder import Decoder, Fragmented, Piece
from diskyard.disk.digest import Digest
from diskyard.disk.extent import Extent, Range, clipped
from diskyard.disk.fetch import Fetcher
from diskyard.disk.image import Image
from diskyard.disk.source import Source
from diskyard.disk.writer import DiskWriter, aligned, write_plain, write_sparse

CHUNK: Final = 4 << 20
"""Bytes that are fetched at once."""
_BUFFERS: Final = 6
_IN_USE: Final = _BUFFERS - 2
"""Buffers that may be used at once: the others are being filled."""
_SPARE: Final = 2
"""Buffers that are used while each connection fills one."""
_CEILING: Final = 80 << 20
"""Resident bytes up to which buffers are added for more connections: 96 MiB are promised, some clients need 50."""
_READERS: Final = 4
"""Pieces of a flat disk that are fetched and written at once."""
_WORKERS: Final = 6
"""Threads that unpack and write: on a few processors, so that some unpack while others wait for the disk."""
_BATCH: Final = 2 << 20
"""Bytes of the disk that a worker takes, and writes, at once: ext4 lets one write at a time into a hole."""
_LONGEST: Final = 2 << 20
"""The largest cluster, and the longest run that is gathered."""
_DIRECT: Final = 256 << 10
"""Runs of the image that are at least this long are written from where they are."""

OnChunk = Callable[[int, int, str], None]
"""(offset of the source up to which all is written, bytes written since the last call, the digest's state there)."""
OnPiece = Callable[[Extent, int], None]
"""(a piece of a flat disk that is written now, as all before it; bytes written of it)."""


@dataclass(frozen=True)
class Stream:
    """What is brought: a source's bytes from `start` on, and the digest that they are hashed into, if any."""

    source: Source
    start: int = 0
    digest: Digest | None = None


def copy(stream: Stream, decoder: Decoder, writer: DiskWriter, on_chunk: OnChunk) -> int:
    """Bring a stream to its end; the offset of that end. What is fetched again counts on behind it.

    Raises what the source, the decoder, the writer and `on_chunk` raise.
    """
    start = min(stream.start, stream.source.size or stream.start)
    with _Threads(stream.source, decoder, writer) as threads:
        end = threads.bring(_from(start), stream.digest, on_chunk)
        threads.write(decoder.rest())

        def on_again(offset: int, written: int, _state: str) -> None:
            on_chunk(end + offset, written, "")

        threads.bring(decoder.missed(), None, on_again)
    return end


def copy_image(image: Image, writer: DiskWriter, within: Range, sparse: bool, on_piece: OnPiece) -> int:
    """Write that part of a flat disk: a few pieces at once, what they become told in order; the bytes read."""
    write = write_sparse if sparse else write_plain
    free: SimpleQueue[memoryview] = SimpleQueue()
    for _ in range(_READERS):
        free.put(memoryview(aligned(CHUNK)))

    def bring(piece: Extent) -> int:
        if piece.zero:
            writer.zero(piece.start, piece.length)
            return 0
        buf = free.get()
        try:
            image.preadinto(buf[: piece.length], piece.start)
            return write(writer, buf[: piece.length], piece.start)
        finally:
            free.put(buf)

    under_way: deque[tuple[Extent, Future[int]]] = deque()
    pool = ThreadPoolExecutor(_READERS, "image")
    total = 0
    try:
        for piece in _portions(clipped(image.extents(), within)):
            under_way.append((piece, pool.submit(bring, piece)))
            total += 0 if piece.zero else piece.length
            if len(under_way) > _READERS:
                first, task = under_way.popleft()
                on_piece(first, task.result())
        for first, task in under_way:
            on_piece(first, task.result())
    finally:
        pool.shutdown(cancel_futures=True)
    return total


def _portions(extents: Iterable[Extent]) -> Iterator[Extent]:
    """What holds data in pieces of at most a chunk, what is zero as it is."""
    for extent in extents:
        step = extent.length if extent.zero else CHUNK
        for start in range(extent.start, extent.end, step):
            yield Extent(start, min(step, extent.end - start), extent.zero)


def _from(start: int) -> Iterator[Range]:
    while True:
        yield Range(start, CHUNK)
        start += CHUNK


@dataclass
class _Chunk:
    """A buffer on its way round."""

    buf: memoryview
    span: Range
    filled: "Future[int]"
    written: "list[Future[int]]" = field(default_factory=list)
    hashed: "Future[str] | None" = None

    def done(self) -> bool:
        """Whether its buffer may be filled again."""
        return all(task.done() for task in self.written) and (self.hashed is None or self.hashed.done())

    def tell(self, on_chunk: OnChunk) -> None:
        """Wait until all of it is used, say so."""
        written = sum(task.result() for task in self.written)
        state = self.hashed.result() if self.hashed else ""
        count = self.filled.result()
        if count:
            on_chunk(self.span.start + count, written, state)


class _Threads:
    """The threads of one copy: errors of any of them are raised in the loop."""

    def __init__(self, source: Source, decoder: Decoder, writer: DiskWriter) -> None:
        self._source = source
        self._decoder = decoder
        self._writer = writer
        self._fetcher = Fetcher(source)
        self._hashing = ThreadPoolExecutor(1, "digest")
        self._writing = ThreadPoolExecutor(_WORKERS, "write")
        self._buffers = [memoryview(aligned(CHUNK)) for _ in range(_BUFFERS)]
        self._part = CHUNK
        self._own = local()

    def __enter__(self) -> "_Threads":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """A fetch that waits for its server ends when the source is closed."""
        if kind and not issubclass(kind, Fragmented):
            self._source.close()
        self._fetcher.close()
        for pool in (self._hashing, self._writing):
            pool.shutdown(cancel_futures=True)

    def bring(self, spans: Iterable[Range], digest: Digest | None, on_chunk: OnChunk) -> int:
        """Fetch and use each span, until the source ends; the offset of its end."""
        todo = self._cut(spans)
        ahead = deque(self._more(self._buffers, todo))
        used: deque[_Chunk] = deque()
        while ahead or used:
            while used and (not ahead or len(used) > _IN_USE or used[0].done()):
                chunk = used.popleft()
                chunk.tell(on_chunk)
                ahead.extend(self._more([chunk.buf], todo))
            if ahead and (count := self._fetcher.awaited(ahead[0].filled)) is not None:
                used.append(ahead.popleft())
                self._use(used[-1], count, digest)
            self._widen(ahead, todo)
        return self._fetcher.end

    def write(self, pieces: Iterable[Piece]) -> int:
        """Write pieces that lie in no buffer; bytes written."""
        return sum(self._writing.submit(self._write, batch).result() for batch in _batches(pieces))

    def _asked(self, buf: memoryview, span: Range) -> _Chunk:
        return _Chunk(buf, span, self._fetcher.ask(buf[: span.length], span.start))

    def _more(self, buffers: Iterable[memoryview], todo: Iterator[Range]) -> Iterator[_Chunk]:
        """Buffers on their way, as far as there is something to fetch."""
        for part in self._parts(buffers):
            span = next(todo, None)
            if span and span.start < self._fetcher.end:
                yield self._asked(part, span)

    def _parts(self, buffers: Iterable[memoryview]) -> Iterator[memoryview]:
        """Buffers, each in as many as one has been divided into."""
        for buf in buffers:
            for start in range(0, len(buf), self._part):
                yield buf[start : start + self._part]

    def _cut(self, spans: Iterable[Range]) -> Iterator[Range]:
        """Spans as a part of a buffer takes them."""
        for span in spans:
            end = span.start
            while end < span.end:
                start, end = end, min(end + self._part, span.end)
                yield Range(start, end - start)

    def _widen(self, ahead: deque[_Chunk], todo: Iterator[Range]) -> None:
        """Over more connections, what has not begun to come and what comes next."""
        lanes = self._fetcher.widened()
        if not lanes:
            return
        more = max(0, lanes + _SPARE - _BUFFERS)
        if more and self._decoder.anywhere:
            more, self._part = 0, CHUNK // 2
        room = max(0, _CEILING - linux.resident()) // CHUNK
        fresh = [memoryview(aligned(CHUNK)) for _ in range(min(more, room))]
        for chunk in [ahead.popleft() for _ in range(len(ahead))]:
            if chunk.filled.cancel():
                parts = zip(self._parts([chunk.buf]), self._cut([chunk.span]), strict=False)
                ahead.extend(self._asked(part, span) for part, span in parts)
            else:
                ahead.append(chunk)
        ahead.extend(self._more(fresh, todo))

    def _use(self, chunk: _Chunk, count: int, digest: Digest | None) -> None:
        view = chunk.buf[:count]
        if not view:
            return
        if digest:
            chunk.hashed = self._hashing.submit(_hash, digest, view)
        for batch in _batches(self._decoder.feed(chunk.span.start, view)):
            if not self._left_out(batch):
                chunk.written.append(self._writing.submit(self._write, batch))

    def _left_out(self, batch: list[Piece]) -> bool:
        """Whether it was a long run of zeros, for which no worker is worth its while."""
        piece = batch[0]
        view = piece.view
        if len(batch) > 1 or piece.codec or not isinstance(view, memoryview) or view.readonly:
            return False
        if piece.length < _DIRECT or not linux.is_zero(view):
            return False
        self._writer.zero(piece.start, piece.length)
        return True

    def _write(self, pieces: list[Piece]) -> int:
        """Unpack and gather what follows on the disk into long runs; bytes written."""
        if not hasattr(self._own, "run"):
            self._own.run = _Run(self._writer)
        run: _Run = self._own.run
        written = sum(run.take(piece) for piece in pieces)
        return written + run.flush()


class _Run:
    """One worker's buffer: bytes of the disk that follow one another, written together."""

    def __init__(self, writer: DiskWriter) -> None:
        self._writer = writer
        self._buf = memoryview(aligned(_LONGEST))
        self._start = 0
        self._filled = 0

    def take(self, piece: Piece) -> int:
        """Take a piece, which may make room for it by writing; bytes written."""
        if piece.view is None:
            self._writer.zero(piece.start, piece.length)
            return 0
        if piece.codec is None and piece.length >= _DIRECT:
            return write_sparse(self._writer, memoryview(piece.view), piece.start)
        written = 0
        if piece.start != self._start + self._filled or self._filled + piece.length > len(self._buf):
            written = self.flush()
            self._start = piece.start
        out = piece.codec(piece.view, piece.length) if piece.codec else piece.view
        self._buf[self._filled : self._filled + piece.length] = out
        self._filled += piece.length
        return written

    def flush(self) -> int:
        """Write what is held; bytes written."""
        filled, self._filled = self._filled, 0
        return write_sparse(self._writer, self._buf[:filled], self._start) if filled else 0


def _batches(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Pieces in groups of about a worker's portion."""
    batch: list[Piece] = []
    length = 0
    for piece in pieces:
        batch.append(piece)
        length += piece.length
        if length >= _BATCH:
            yield batch
            batch, length = [], 0
    if batch:
        yield batch


def _hash(digest: Digest, view: memoryview) -> str:
    digest.update(view)
    return digest.state()
