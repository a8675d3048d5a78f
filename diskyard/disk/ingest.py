"""THE ONE DOOR into a volume: nothing becomes a disk but through here.

A disk is written under a hidden name beside its own, and takes its name only when it is complete, verified and
durable. A refusal leaves nothing behind. An interruption leaves what the next run goes on from, and says so in
the journal; where the source cannot prove that it is still the same one, it leaves nothing either.
"""

from contextlib import closing
from dataclasses import replace
from functools import partial
from threading import RLock
from typing import Final

from diskyard import linux
from diskyard.disk import place, qcow2_format, qemu, space, vmdk_format
from diskyard.disk.aside import Aside
from diskyard.disk.checkpoint import Checkpoint
from diskyard.disk.copy import Stream, copy, copy_image
from diskyard.disk.decoder import Decoder, Fragmented
from diskyard.disk.digest import Digest
from diskyard.disk.extent import Extent, Range
from diskyard.disk.head import Headed, read
from diskyard.disk.image import Changes, FileImage, Image, Lasting
from diskyard.disk.inspect import inspect_file
from diskyard.disk.journal import Journal, Record, record
from diskyard.disk.meter import Meter, watched
from diskyard.disk.place import Place
from diskyard.disk.preflight import HEAD, Preflight, Route
from diskyard.disk.probe import Format
from diskyard.disk.qcow2 import Qcow2Decoder
from diskyard.disk.raw import RawDecoder
from diskyard.disk.source import Source
from diskyard.disk.space import check_room
from diskyard.disk.target import NOTHING, Expect, Limit, OnProgress, Progress, Result, Target, silent
from diskyard.disk.unwrap import unwrapped
from diskyard.disk.vmdk import VmdkDecoder
from diskyard.disk.writer import DiskWriter, FileWriter
from diskyard.errors import InvalidRequest, Refused, SourceChanged
from diskyard.log import logger

_FLAT: Final = "flat"
"""The route of what is a flat disk already: its offsets are the disk's."""
_CHANGES: Final = "changes"
"""The route of what is written over a disk that is there."""
_HOLLOW: Final = 64
"""So many bytes of a hole are brought again as easily as one of data."""
_FETCHING_SHARE: Final = 70.0
"""Percent of the whole that fetching is where a conversion follows."""

log = logger("disk")


def ingest(
    what: Source | Image | Changes,
    target: Target,
    *,
    expect: Expect = NOTHING,
    on_progress: OnProgress = silent,
) -> Result:
    """Put a source's or an image's disk in its place, or write what has changed over the disk that is there.

    Raises Refused (nothing is left behind), Passing (run again: it goes on where it can), Busy, NoSpace.
    """
    spot = place.opened(target)
    with (
        closing(place.journal(target)) as journal,
        _Visit(spot, journal, expect, on_progress) as visit,
        watched(visit.meter, visit.tick),
    ):
        if isinstance(what, Changes):
            return visit.changes(what.image)
        return visit.image(what) if isinstance(what, Image) else visit.source(what)


class _Visit:
    """One passing of the door."""

    def __init__(self, spot: Place, journal: Journal, expect: Expect, on_progress: OnProgress) -> None:
        self._spot = spot
        self._room = spot.target.room
        self._journal = journal
        self._expect = expect
        self._say = on_progress
        self._saying = RLock()
        self._progress = Progress()
        self.meter = Meter()
        self._share = 100.0
        self._resumable = False
        self._amends = False
        self._aside = Aside(spot.target.folder, place.most_kept(spot.target))

    def __enter__(self) -> "_Visit":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._aside.close()
        if kind and not self._amends and (issubclass(kind, Refused | SourceChanged) or not self._resumable):
            self._spot.discard()
            self._journal.clear()
        if kind:
            self._said(replace(self._progress, journal=self._reported()))

    def tick(self) -> None:
        """Say what limits, and for how long nothing has moved; a conversion speaks for itself."""
        with self._saying:
            if self._progress.phase != "converting":
                self._said(replace(self._progress, limit=self.meter.limit(), still=self.meter.still()))

    def source(self, source: Source) -> Result:
        """Fetch, verify, convert where that is needed, publish."""
        try:
            return self._through(source, spool=self._expect.whole)
        except Fragmented:
            log.info("the image is not laid out in order: it is fetched as a whole, then converted")
            self._aside.close()
            self._spot.discard()
            self._journal.clear()
            return self._through(source, spool=True)

    def image(self, image: Image) -> Result:
        """Write what already is a flat disk, publish; one that says which version it is can be gone on with."""
        check_room(image.size, self._room)
        plan = Preflight(Format.RAW, image.size, Route.STREAM)
        self._resumable = isinstance(image, Lasting) and bool(image.validator)
        entry = record(self._expect.origin, image.validator if isinstance(image, Lasting) else "", _FLAT)
        held = self._held(entry)
        if held and (said := self._finished(held)) is not None:
            return self._taken_over(plan, said, 0)
        start = self._start(held, plan, None)
        return self._written(image, held if held and start else entry, image.size if held and start else 0)

    def changes(self, image: Image) -> Result:
        """Write what has changed over the disk that is there, under its hidden name, and publish it again.

        Whatever happens the disk stays, for the same changes once more: half of them, then others, would be neither.
        """
        self._amends = True
        check_room(image.size, self._room)
        entry, begun = record(self._expect.origin, "", _CHANGES), self._journal.read()
        if begun and begun.route == _CHANGES and begun != entry:
            raise InvalidRequest(
                f"the disk at {self._spot.target.path} has taken a part of other changes already: import these first, "
                "or delete the DataVolume and begin with its first checkpoint"
            )
        kept = self._spot.reopened()
        self._journal.write(entry)
        return self._written(image, entry, kept)

    def _written(self, image: Image, begun: Record, kept: int) -> Result:
        """The image's bytes from where they begin to be missing, durably, over the first `kept` bytes; published."""
        self._said(Progress("transferring", fetched=begun.offset, total=image.size))
        size = max(image.size, kept)
        with closing(self._spot.writer(self._spot.disk, kept, image.size)) as writer:
            writer.resize(size)  # its journal counts what is a hole, too
            alike = not kept and not self._spot.target.preallocate and _shared(image, writer)
            fetched = 0 if alike else self._copied(image, writer, begun)
            self._moved(image.size, 0)
            self._spot.cover(writer, size)
            writer.flush()
        self._publish(size)
        return Result(Format.RAW, size, fetched, self._progress.written, "", resumed_at=begun.offset)

    def _copied(self, image: Image, writer: DiskWriter, begun: Record) -> int:
        """The image's bytes from where they begin to be missing, made durable in steps; how many were read."""
        journal = self._journal if self._resumable else None
        sparse, rest = not self._spot.target.preallocate, Range(begun.offset, image.size - begun.offset)
        watched_writer = self.meter.writer(writer)
        with Checkpoint(watched_writer, journal, begun, self._spot.mark) as checkpoint:

            def on_piece(piece: Extent, written: int) -> None:
                cost = piece.length // _HOLLOW if piece.zero else piece.length
                checkpoint.passed(piece.end, "", cost)
                self._moved(piece.end, written)

            return copy_image(self.meter.image(image), watched_writer, rest, sparse, on_piece)

    def _through(self, source: Source, *, spool: bool) -> Result:
        digest = self._expect.computed()
        headed = Headed(self.meter.source(source))
        plan, body = unwrapped(headed, digest, self._room)
        goes_on = source.ranged or self._expect.goes_on
        self._resumable = bool(source.validator) and goes_on and body is headed
        entry = record(self._expect.origin, source.validator or "", plan.route)
        held = self._held(entry)
        if (spool and plan.route is Route.DECODE) or (held and held.route == Route.SPOOL):
            plan, entry = replace(plan, route=Route.SPOOL), replace(entry, route=Route.SPOOL)
        if held and (said := self._finished(held)) is not None:
            return self._taken_over(plan, said, headed.fetched)
        if plan.route is Route.SPOOL:
            place.make_room(self._spot, headed.size)
        start = self._start(held, plan, digest)
        log.info(
            "fetching", source=self._expect.name, format=plan.format, size=source.size,
            virtual_size=plan.virtual_size, route=plan.route, start=start,
        )  # fmt: skip
        self._said(Progress("transferring", fetched=start, total=source.size))
        stream = Stream(body, start, digest if body is headed else None)
        begun = held if held and start else replace(entry, digest=digest.state() if digest else "")
        end = self._fetch(stream, plan, begun, headed)
        said = self._expect.said(digest)
        size = self._convert(plan.format) if plan.route is Route.SPOOL else end
        self._publish(size)
        resumed = min(start, source.size or start)
        return Result(plan.format, size, headed.fetched, self._progress.written, said, resumed_at=resumed)

    def _held(self, entry: Record) -> Record | None:
        """What an earlier run of this very transfer has written down."""
        held = self._journal.read()
        if held and held.origin == entry.origin and held.validator != entry.validator:
            log.warning("the source has changed since the interrupted transfer: starting from its beginning")
        as_a_whole = replace(entry, route=Route.SPOOL)  # where its order could not be followed
        same = self._resumable and held and replace(held, offset=0, digest="", mark="") in (entry, as_a_whole)
        return held if same else None

    def _finished(self, held: Record) -> str | None:
        """What is to be said of the disk that an earlier run has published before it was killed; None for none."""
        digest, expected = self._expect.computed(), self._expect.digest
        if not self._spot.published(held.mark) or not _restored(digest, held):
            return None
        return str(digest or "") if not (digest and expected) or expected.hex == digest.hex() else None

    def _taken_over(self, plan: Preflight, digest: str, fetched: int) -> Result:
        """Say what the run that was killed could not say any more."""
        path = self._spot.target.path
        log.info("the disk is complete: an earlier run was killed before it could say so", path=path)
        linux.sync_volume(path.parent)
        self._journal.remove()
        self._said(Progress("complete", fetched, None, 0, 100.0))
        size = plan.virtual_size if plan.virtual_size is not None else path.stat().st_size
        return Result(plan.format, size, fetched, 0, digest)

    def _start(self, held: Record | None, plan: Preflight, digest: Digest | None) -> int:
        """Where to go on; what cannot be gone on from is removed."""
        if held:
            expected = plan.virtual_size if plan.route is Route.DECODE else held.offset
            path = place.fetched(self._spot, plan.route)
            if self._spot.holds(path, expected or 0, held.mark) and _restored(digest, held):
                log.info("going on with an interrupted transfer", start=held.offset)
                return held.offset
            log.warning("what the interrupted transfer has left is not there: starting from its beginning")
        if old := self._journal.read():
            self._spot.forget(old.mark)
        self._spot.discard()
        self._journal.clear()
        return 0

    def _fetch(self, stream: Stream, plan: Preflight, entry: Record, headed: Headed) -> int:
        """Bring the body here, durably; the disk's size, or the spooled image's."""
        self._share = _FETCHING_SHARE if plan.route is Route.SPOOL else 100.0
        decoder = self._decoder(stream, plan)
        kept = decoder.size if plan.route is Route.DECODE and entry.offset else entry.offset
        path = place.fetched(self._spot, plan.route)
        with closing(self._spot.writer(path, kept, plan.virtual_size)) as writer:
            if plan.route is Route.DECODE and not entry.offset:
                self._spot.clear(writer, decoder.size)
            elif plan.route is not Route.DECODE and self._resumable and headed.size:
                self._spot.stretch(writer, path, headed.size)
            watched_writer = self.meter.writer(writer)
            journal = self._journal if self._resumable else None
            with Checkpoint(watched_writer, journal, entry, self._spot.mark) as checkpoint:

                def on_chunk(offset: int, written: int, state: str) -> None:
                    checkpoint.passed(offset, state or checkpoint.digest)
                    self._moved(offset if stream.source is headed else headed.fetched, written)

                end = copy(stream, decoder, watched_writer, on_chunk)
            if plan.route is Route.SPOOL:
                writer.resize(end)
                writer.flush()
                return end
            size = decoder.size if plan.route is Route.DECODE else end
            self._spot.cover(writer, size)
            writer.flush()
        return size

    def _decoder(self, stream: Stream, plan: Preflight) -> Decoder:
        if plan.route is not Route.DECODE:
            return RawDecoder(place.bound(self._spot, plan))
        return _vmdk(stream) if plan.format is Format.VMDK else _qcow2(stream, self._aside)

    def _convert(self, kind: Format) -> int:
        """The spooled image becomes the disk; its size."""
        spool, disk = self._spot.target.spool, self._spot.disk
        size = inspect_file(spool, kind)
        check_room(size, self._room)
        self._said(replace(self._progress, phase="converting", limit=Limit.UNKNOWN, still=0.0))

        def on_percent(percent: float) -> None:
            whole = self._share + percent * (100 - self._share) / 100
            self._said(replace(self._progress, percent=whole))

        log.info("converting", format=kind, virtual_size=size)
        if kind is not Format.QCOW2:
            qemu.check_whole(spool, kind)
        qemu.convert(spool, kind, disk, room=self._room, on_percent=on_percent)
        size = self._spot.converted(size)
        if held := self._journal.read():
            self._journal.write(replace(held, mark=self._spot.mark()))
        self._said(replace(self._progress, written=space.taken(disk) or size))
        return size

    def _publish(self, size: int) -> None:
        self._spot.publish(size)
        self._journal.remove()
        self._said(replace(self._progress, phase="complete", percent=100.0, still=0.0, journal=""))

    def _moved(self, fetched: int, written: int) -> None:
        with self._saying:
            total = self._progress.total
            fetched = min(fetched, total or fetched)
            percent = self._share * min(1.0, fetched / total) if total else 0.0
            written += self._progress.written
            moved = replace(self._progress, fetched=fetched, written=written, percent=percent, still=0.0)
            self._said(replace(moved, journal=self._reported()))

    def _reported(self) -> str:
        """The journal of a block device, which lies elsewhere and may be lost; empty where it is beside the disk."""
        held = self._journal.read() if self._spot.target.scratch and self._resumable else None
        return held.to_text() if held and held.mark else ""

    def _said(self, progress: Progress) -> None:
        with self._saying:
            self._progress = progress
            self._say(progress)


def _shared(image: Image, writer: DiskWriter) -> bool:
    """Whether the disk became the image at once, on the same blocks: both are files of one file system that can."""
    return isinstance(image, FileImage) and isinstance(writer, FileWriter) and writer.share(image.fileno())


def _restored(digest: Digest | None, held: Record) -> bool:
    """Whether a digest, if there is one, goes on from where a record ends."""
    return digest is None or digest.restore(held.digest)


def _qcow2(stream: Stream, aside: Aside) -> Decoder:
    source = stream.source
    header = qcow2_format.header(read(source, 0, HEAD))
    again = source.size if source.ranged else None
    decoder = Qcow2Decoder(header, read(source, header.l1_offset, 8 * header.l1_entries), again, aside)
    decoder.catch_up(stream.start, partial(read, source))
    return decoder


def _vmdk(stream: Stream) -> Decoder:
    source = stream.source
    decoder = VmdkDecoder(vmdk_format.header(read(source, 0, vmdk_format.SECTOR)))
    decoder.catch_up(stream.start, source.size, partial(read, source))
    return decoder
