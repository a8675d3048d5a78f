"""THE ONE DOOR into a volume: nothing becomes a disk but through here.

A disk is written under a hidden name beside its own, and takes its name only when it is complete, verified and
durable. A refusal leaves nothing behind. An interruption leaves what the next run goes on from, and says so in
the journal; where the source cannot prove that it is still the same one, it leaves nothing either.
"""

from contextlib import closing
from dataclasses import replace
from typing import Final

from diskyard.disk import place, qemu, space
from diskyard.disk.copy import copy, copy_image
from diskyard.disk.digest import Digest
from diskyard.disk.head import Headed
from diskyard.disk.image import Image
from diskyard.disk.inspect import inspect_file
from diskyard.disk.journal import Checkpoint, Journal, Record, record
from diskyard.disk.place import Place
from diskyard.disk.preflight import Preflight, Route, check_room, preflight
from diskyard.disk.probe import COMPRESSIONS, Format
from diskyard.disk.source import Source
from diskyard.disk.tap import Tap
from diskyard.disk.target import NOTHING, Expect, OnProgress, Progress, Result, Target, silent
from diskyard.disk.unpack import Unpacked
from diskyard.errors import Refused, SourceChanged, UnsupportedImage
from diskyard.log import logger

_FETCHING_SHARE: Final = 70.0
"""Percent of the whole that fetching is where a conversion follows."""

log = logger("disk")


def ingest(
    what: Source | Image, target: Target, *, expect: Expect = NOTHING, on_progress: OnProgress = silent
) -> Result:
    """Put a source's or an image's disk in its place.

    Raises Refused (nothing is left behind), Passing (run again: it goes on where it can), Busy, NoSpace.
    """
    spot = place.opened(target)
    with closing(place.journal(target)) as journal, _Visit(spot, journal, expect, on_progress) as visit:
        return visit.image(what) if isinstance(what, Image) else visit.source(what)


class _Visit:
    """One passing of the door."""

    def __init__(self, spot: Place, journal: Journal, expect: Expect, on_progress: OnProgress) -> None:
        self._spot = spot
        self._room = spot.target.room
        self._journal = journal
        self._expect = expect
        self._say = on_progress
        self._progress = Progress()
        self._share = 100.0
        self._resumable = False

    def __enter__(self) -> "_Visit":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind and (issubclass(kind, Refused | SourceChanged) or not self._resumable):
            self._spot.discard()
            self._journal.clear()

    def source(self, source: Source) -> Result:
        """Fetch, verify, convert where that is needed, publish."""
        headed = Headed(source)
        tap = Tap(headed, Digest(self._expect.algorithm))
        plan, body = self._planned(headed, tap)
        entry = record(self._expect.origin, source.validator or "", plan.route)
        self._resumable = bool(source.validator) and source.ranged and body is tap
        start = self._start(entry, plan, tap)
        log.info(
            "fetching", source=self._expect.name, format=plan.format, size=source.size,
            virtual_size=plan.virtual_size, route=plan.route, start=start,
        )  # fmt: skip
        end = self._fetch(body, tap, plan, replace(entry, offset=start))
        tap.digest.verify(self._expect.digest, self._expect.name)
        size = end if plan.route is Route.STREAM else self._convert(plan.format)
        self._publish(size)
        written, digest = self._progress.written, str(tap.digest)
        return Result(plan.format, size, headed.fetched, written, digest, resumed_at=start)

    def image(self, image: Image) -> Result:
        """Write what already is a flat disk, publish."""
        check_room(image.size, self._room)
        self._said(Progress("transferring", total=image.size))
        sparse = not self._spot.target.preallocate
        with closing(self._spot.writer(self._spot.disk, 0, image.size)) as writer:
            copy_image(image, writer, sparse=sparse, on_chunk=self._moved)
            self._spot.cover(writer, image.size)
            writer.flush()
        self._publish(image.size)
        return Result(Format.RAW, image.size, image.size, self._progress.written, "")

    def _planned(self, headed: Headed, tap: Tap) -> tuple[Preflight, Source]:
        """What the image is, and the Source of its bytes: the tap, or what is inside it."""
        plan = preflight(headed, self._room)
        if plan.format not in COMPRESSIONS:
            return plan, tap
        inner = Headed(Unpacked(tap, plan.format))
        plan = preflight(inner, self._room)
        if plan.format in COMPRESSIONS:
            raise UnsupportedImage(
                f"the source is compressed twice (there is {plan.format} inside): unpack it once before you offer it"
            )
        return plan, inner

    def _start(self, entry: Record, plan: Preflight, tap: Tap) -> int:
        """Where to go on; what cannot be gone on from is removed."""
        held = self._journal.read()
        path = place.fetched(self._spot, plan.route)
        if held and self._resumable and replace(held, offset=0) == entry and place.holds(path, held.offset):
            tap.digest.prime(path, held.offset)
            tap.position = held.offset
            log.info("going on with an interrupted transfer", start=held.offset)
            return held.offset
        if held and held.origin == entry.origin and held.validator != entry.validator:
            log.warning("the source has changed since the interrupted transfer: starting from its beginning")
        self._spot.discard()
        self._journal.clear()
        return 0

    def _fetch(self, body: Source, tap: Tap, plan: Preflight, entry: Record) -> int:
        """Bring the body here, durably; its length."""
        streams = plan.route is Route.STREAM
        self._share = 100.0 if streams else _FETCHING_SHARE
        self._said(Progress("transferring", fetched=tap.position, total=tap.size))
        if not streams:
            place.check_spool(self._spot, tap.size)
        limit = place.limit(self._spot, plan)
        path = place.fetched(self._spot, plan.route)
        with closing(self._spot.writer(path, entry.offset, plan.virtual_size)) as writer:
            with Checkpoint(writer, self._journal if self._resumable else None, entry) as checkpoint:

                def on_chunk(offset: int, written: int) -> None:
                    checkpoint.passed(offset)
                    self._moved(tap.position, written)

                end = entry.offset
                if end != tap.size:
                    end = copy(body, writer, end, limit=limit, on_chunk=on_chunk)
            check_room(end, limit)
            if streams:
                self._spot.cover(writer, end)
            else:
                writer.resize(end)
            writer.flush()
        return end

    def _convert(self, kind: Format) -> int:
        """The spooled image becomes the disk; its size."""
        spool, disk = self._spot.target.spool, self._spot.disk
        size = inspect_file(spool, kind)
        check_room(size, self._room)
        self._said(replace(self._progress, phase="converting"))

        def on_percent(percent: float) -> None:
            whole = self._share + percent * (100 - self._share) / 100
            self._said(replace(self._progress, percent=whole))

        log.info("converting", format=kind, virtual_size=size)
        qemu.convert(spool, kind, disk, room=self._room, on_percent=on_percent)
        size = self._spot.converted(size)
        self._progress = replace(self._progress, written=space.taken(disk) or size)
        return size

    def _publish(self, size: int) -> None:
        self._spot.publish(size)
        self._journal.remove()
        self._said(replace(self._progress, phase="complete", percent=100.0))

    def _moved(self, fetched: int, written: int) -> None:
        total = self._progress.total
        percent = self._share * min(1.0, fetched / total) if total else 0.0
        written += self._progress.written
        self._said(replace(self._progress, fetched=fetched, written=written, percent=percent))

    def _said(self, progress: Progress) -> None:
        self._progress = progress
        self._say(progress)
