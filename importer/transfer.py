"""transfer(job, target): a source becomes a disk. The importer's pod and the command line both end here."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from diskyard import linux
from diskyard.api import checksum
from diskyard.api.job import BLANK, ImportJob
from diskyard.disk.digest import Expected
from diskyard.disk.extent import Extent
from diskyard.disk.ingest import ingest
from diskyard.disk.probe import Format
from diskyard.disk.source import Source
from diskyard.disk.target import Expect, OnProgress, Result, Target, silent
from diskyard.errors import InvalidRequest
from importer import registry
from importer.file import FileSource
from importer.http import HttpSource
from importer.request import Access, header_lines, shown
from importer.retry import Retrying

LOCAL: Final = "file"
"""The source that is a path on this machine; from the command line only."""


def transfer(job: ImportJob, target: Target, on_progress: OnProgress = silent) -> Result:
    """Fill a target as a job says. Raises Refused (can never work), Passing (may work when tried again)."""
    expected = _expected(job)
    if job.content_type != "kubevirt":
        raise InvalidRequest(
            f"expected content type kubevirt, found {job.content_type}: archives are not imported yet"
        )
    if job.source == BLANK:
        return _blank(target, on_progress)
    opener = OPENERS.get(job.source)
    if opener is None:
        raise InvalidRequest(
            f"Unknown data source: {job.source}: expected one of {', '.join(OPENERS)}, {BLANK}"
        )
    with closing(opener(job)) as source:
        expect = Expect(job.endpoint, shown(job.endpoint), expected)
        return ingest(source, target, expect=expect, on_progress=on_progress)


def _expected(job: ImportJob) -> Expected | None:
    if not job.checksum:
        return None
    promised = checksum.parse(job.checksum)
    return Expected(promised.algorithm, promised.hex)


def _http(job: ImportJob) -> Source:
    access = Access(
        user=job.access_key,
        password=job.secret_key,
        headers=header_lines(job.extra_headers),
        ca_dir=job.cert_dir,
        insecure=job.insecure_tls,
        proxies={"http": job.http_proxy, "https": job.https_proxy},
        no_proxy=job.no_proxy,
    )
    return Retrying(HttpSource(job.endpoint, access))


def _file(job: ImportJob) -> Source:
    return FileSource(Path(job.endpoint))


OPENERS: Final[Mapping[str, Callable[[ImportJob], Source]]] = {
    "http": _http,
    "registry": registry.opened,
    LOCAL: _file,
}
"""Kind of source -> what opens it."""


class _Zeros:
    """An empty disk."""

    def __init__(self, size: int) -> None:
        self.size = size

    def extents(self) -> Iterator[Extent]:
        yield Extent(0, self.size, zero=True)

    def preadinto(self, buf: memoryview, _offset: int, /) -> None:
        buf[:] = bytes(len(buf))


def _blank(target: Target, on_progress: OnProgress) -> Result:
    if linux.is_device(target.path):
        if not target.preallocate:
            return Result(Format.RAW, target.room or 0, 0, 0, "")
        return ingest(_Zeros(target.room or 0), target, on_progress=on_progress)
    if not target.size:
        raise InvalidRequest("a blank disk needs a size: expected one such as 10Gi, found none")
    return ingest(_Zeros(target.size), target, on_progress=on_progress)
