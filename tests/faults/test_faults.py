"""Whatever a server does: the disk bit for bit, or an error that says what happened, and nothing in between."""

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from diskyard.api.job import ImportJob
from diskyard.disk.ingest import ingest
from diskyard.disk.source import Source
from diskyard.disk.target import Expect, Result, Target
from diskyard.errors import (
    AccessDenied,
    DiskyardError,
    Passing,
    Refused,
    SourceChanged,
    SourceMissing,
    SourceUnavailable,
    UnsupportedImage,
)
from importer.http import HttpSource
from importer.request import Access
from importer.retry import DELAYS, Retrying
from importer.transfer import transfer
from tests.disk.images import MIB, converted, left_behind, raw
from tests.faults.behaviours import (
    changed,
    chunked,
    drip,
    error_page,
    gzipped,
    longer_part,
    lying_content_range,
    no_content_range,
    part_of_who_knows_what,
    reset,
    shifted,
    shorter_part,
    silent,
    stall,
    unranged,
    whole_again,
)
from tests.imageserver import Behaviour, FaultServer, cut, fault_server, status

PATIENCE = 60.0
LITTLE = 0.5
"""Seconds without a byte after which a server counts as silent: this few only where one is."""
WRAPPING = 2048
"""Bytes that stored gzip adds to these bodies."""
AT = 1_500_000
NEVER = 100
"""More than are asked: a copy that goes slowly asks over several connections."""
RELEASED = threading.Event()


@dataclass(frozen=True)
class Case:
    """What a server does to its first requests, and what must come of it."""

    what: str
    faults: list[Behaviour]
    outcome: type[DiskyardError] | None = None
    """None: the disk, and no byte of the source is read twice."""
    words: str = ""
    waits: tuple[float, ...] | None = None
    """How long it stayed away before each new attempt, where that is part of the answer."""
    patience: float = PATIENCE


BROKEN = cut(AT)
CASES = [
    Case("a reset in the body", [reset(AT)]),
    Case("a reset before an answer's first byte", [BROKEN, reset(0)]),
    Case("a body that breaks off, twice", [BROKEN, cut(AT + 200_000)]),
    Case("a stall in the body", [stall(AT, RELEASED)], patience=LITTLE),
    Case("a stall before the answer", [BROKEN, silent(RELEASED)], waits=DELAYS[:2], patience=LITTLE),
    Case(
        "a server that never answers again", [BROKEN, *[silent(RELEASED)] * NEVER], SourceUnavailable, "0.5 s",
        patience=LITTLE,
    ),
    Case("bytes that drip", [drip]),
    Case("other bytes at once", [shifted], SourceUnavailable, "Content-Range from 0"),
    Case("other bytes later", [BROKEN, shifted]),
    Case("other bytes for ever", [BROKEN, *[shifted] * NEVER], SourceUnavailable, "Content-Range from"),
    Case("a part that does not say which", [no_content_range], SourceUnavailable, "FIRST-LAST/SIZE"),
    Case("a part that does not say which, later", [BROKEN, no_content_range]),
    Case("a part, nobody says of how much", [part_of_who_knows_what]),
    Case("such parts, whatever is asked for", [part_of_who_knows_what] * 2, SourceUnavailable, "as a whole"),
    Case("less than was asked for", [BROKEN, shorter_part]),
    Case("more than there is", [longer_part]),
    Case("another size", [BROKEN, lying_content_range], SourceChanged, "another size"),
    Case("everything in place of a part", [BROKEN, whole_again]),
    Case("everything for ever", [BROKEN, *[whole_again] * NEVER], SourceUnavailable, "expected status 206"),
    Case("another version", [BROKEN, changed], SourceChanged, 'expected version "v1", found "v2"'),
    Case("429", [status(429)], SourceUnavailable, "got 429"),
    Case("429 later", [BROKEN, status(429, Retry_After="7")], waits=(DELAYS[0], 7.0)),
    Case("503 later", [BROKEN, status(503)], waits=DELAYS[:2]),
    Case("503 for ever", [BROKEN, *[status(503)] * NEVER], SourceUnavailable, "got 503", DELAYS),
    Case("503 until tomorrow", [BROKEN, status(503, Retry_After="86400")], SourceUnavailable, "503", DELAYS[:1]),
    Case(
        "503 until a date", [BROKEN, status(503, Retry_After="Fri, 01 Jan 2100 00:00:00 GMT")],
        SourceUnavailable, "503", DELAYS[:1],
    ),
    Case("no permission later", [BROKEN, status(403)], AccessDenied, "got 403"),
    Case("nothing there later", [BROKEN, status(404)], SourceMissing, "got 404"),
    Case("nothing behind this byte later", [BROKEN, status(416)], SourceChanged, "another size"),
    Case("a page with status 200", [error_page], UnsupportedImage, "web page"),
    Case("a page with status 200 later", [BROKEN, error_page]),
    Case("no ranges", [unranged()]),
    Case("no ranges, and a body that breaks off", [unranged(AT)], SourceUnavailable, f"broke off at byte {AT}"),
    Case("chunks", [chunked()]),
    Case("chunks without an end", [chunked(b"")], SourceUnavailable, "broke off"),
    Case("chunks inside gzip", [chunked(coding="gzip, chunked")], SourceUnavailable, "Transfer-Encoding 'gzip, ch"),
    Case("gzip that nobody asked for", [gzipped]),
]  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk of which no part is like another, raw and as qcow2."""
    folder = tmp_path_factory.mktemp("images")
    disk = raw(folder / "raw", 12 * MIB)
    converted(disk, folder / "qcow2", "qcow2", "-c")
    return folder


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """Servers that stall stop doing so when a test ends."""
    RELEASED.clear()
    yield
    RELEASED.set()


class Unnamed:
    """A source that does not say which version it has: a copy asks it over one connection, however slow that is."""

    def __init__(self, source: Source) -> None:
        self.size, self.ranged, self.validator = source.size, source.ranged, None
        self.readinto, self.close = source.readinto, source.close


@dataclass
class Importer:
    """What an importer does, with as much patience as a case allows."""

    target: Target
    case: Case
    waits: list[float] = field(default_factory=list)

    def run(self, url: str) -> Result:
        source = HttpSource(url, Access(patience=self.case.patience))
        with closing(Retrying(source, wait=self.waits.append)) as patient:
            asked = (
                patient if self.case.waits is None else Unnamed(patient)
            )  # who is refused what, in which order
            return ingest(asked, self.target, expect=Expect(url, url))


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_a_server_with(images: Path, tmp_path: Path, kind: str, case: Case) -> None:
    body, disk = (images / kind).read_bytes(), tmp_path / "disk.img"
    importer = Importer(Target(disk), case)
    with fault_server(body, *case.faults) as server:
        if case.outcome is None:
            result = importer.run(server.url())
            assert result.bytes_fetched <= len(body) + WRAPPING
        else:
            _refused(importer, server, case)
            if issubclass(case.outcome, Passing):
                server.faults.clear()
                importer.run(server.url())

    if case.outcome is None or issubclass(case.outcome, Passing):
        assert disk.read_bytes() == (images / "raw").read_bytes()
        assert left_behind(tmp_path) == ["disk.img"]
    if case.waits is not None:
        assert tuple(importer.waits[: len(case.waits)]) == case.waits


def _refused(importer: Importer, server: FaultServer, case: Case) -> None:
    """It fails as it must; no disk is there, and nothing at all after what can never work or has changed."""
    assert case.outcome is not None
    with pytest.raises(case.outcome) as error:
        importer.run(server.url())
    left = left_behind(importer.target.folder)
    assert case.words in str(error.value)
    assert "disk.img" not in left
    assert left == [] or not issubclass(case.outcome, Refused | SourceChanged)


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_a_redirect_to_another_origin_in_the_middle(images: Path, tmp_path: Path, kind: str) -> None:
    body, disk = (images / kind).read_bytes(), tmp_path / "disk.img"
    with fault_server(body) as elsewhere, fault_server(body, BROKEN) as server:
        server.faults.append(status(302, Location=elsewhere.url()))
        job = ImportJob("http", server.url(), access_key="ann", secret_key="secret")

        result = transfer(job, Target(disk))

        assert result.bytes_fetched == len(body)
        assert disk.read_bytes() == (images / "raw").read_bytes()
        assert not any("authorization" in hit for hit in elsewhere.seen)


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_a_job_survives_what_its_source_does(images: Path, tmp_path: Path, kind: str) -> None:
    body, disk = (images / kind).read_bytes(), tmp_path / "disk.img"
    with fault_server(body, BROKEN, status(503), cut(AT + 300_000), error_page) as server:
        result = transfer(ImportJob("http", server.url()), Target(disk))

    assert result.bytes_fetched == len(body)
    assert disk.read_bytes() == (images / "raw").read_bytes()
