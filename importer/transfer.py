"""transfer(job, target): a source becomes a disk. The importer's pod and the command line both end here.

What only some jobs need is imported where it is needed: a small import is over before the rest has been read.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable
from urllib.parse import urlsplit

from diskyard import linux
from diskyard.api import checksum
from diskyard.api.checksum import Checksum
from diskyard.api.job import BLANK, ImportJob
from diskyard.api.names.clone import SOURCE as CLONE
from diskyard.disk.digest import Expected
from diskyard.disk.extent import Extent
from diskyard.disk.head import read
from diskyard.disk.image import Changes, Image
from diskyard.disk.ingest import ingest
from diskyard.disk.permission import check_writable
from diskyard.disk.probe import Format
from diskyard.disk.source import Source
from diskyard.disk.target import Expect, OnProgress, Result, Target, silent
from diskyard.errors import InvalidRequest
from importer import stdin
from importer.address import networks
from importer.connection import same_origin
from importer.file import FileSource
from importer.http import HttpSource
from importer.request import Access, header_lines, shown
from importer.retry import Retrying, patiently

if TYPE_CHECKING:
    from importer.s3 import Login

DISK: Final = "kubevirt"
ARCHIVE: Final = "archive"
REGISTRY: Final = "registry"
LOCAL: Final = "file"
"""The source that is a path on this machine; from the command line only."""
STDIN: Final = "stdin"
"""The source that comes through a pipe; likewise."""
BUCKETS: Final = ("s3", "gcs")


def transfer(job: ImportJob, target: Target, on_progress: OnProgress = silent) -> Result:
    """Fill a target as a job says. Raises Refused (can never work), Passing (may work when tried again)."""
    check_writable(target)
    promise = patiently(partial(expected, job))
    if job.content_type not in (DISK, ARCHIVE):
        raise InvalidRequest(f"expected content type {DISK} or {ARCHIVE}, found {job.content_type}")
    if job.source == BLANK:
        return _blank(target, on_progress)
    with opened(job, patiently) as source:
        expect = Expect(_origin(job), name_of(job), promise, job.digest)
        if job.content_type == ARCHIVE and not isinstance(source, Image):
            from diskyard.disk.extract import extract

            return extract(source, target, expect=expect, on_progress=on_progress)
        what = Changes(source) if job.previous and isinstance(source, Image) else source
        result = ingest(what, target, expect=expect, on_progress=on_progress)
        result = replace(result, about=source.about if isinstance(source, Flat) else {})
        return _said(source, result) if job.source == REGISTRY else result


def _said(source: Source | Image, result: Result) -> Result:
    """With what a container image says of itself."""
    from importer.registry.layers import LayerDisk

    if not isinstance(source, LayerDisk):
        return result
    return replace(result, labels=source.said.labels, architecture=source.said.architecture)


def _origin(job: ImportJob) -> str:
    """What an interrupted transfer is known by.

    Of a clone, not where its source's pod happens to run; of changes, between which stages of which disk.
    """
    if job.source == CLONE:
        return urlsplit(job.endpoint).path
    stages = (job.disk_id, job.uuid, job.backing_file, job.previous, job.checkpoint)
    return "\n".join((job.endpoint, *stages)) if job.checkpoint else job.endpoint


def name_of(job: ImportJob) -> str:
    """What a job's source is called, for people."""
    return stdin.NAME if job.source == STDIN else shown(job.endpoint)


def host_of(endpoint: str) -> str:
    """Whom a transfer waits for, for people."""
    try:
        return urlsplit(endpoint).hostname or "the source"
    except ValueError:
        return "the source"


def _once(ask: Callable[[], Source]) -> Source:
    return ask()


@contextmanager
def opened(job: ImportJob, ask: Callable[[Callable[[], Source]], Source] = _once) -> Iterator[Source | Image]:
    """What a job is filled from, open; `ask` opens it, perhaps more than once. Raises what its opener raises."""
    if job.source in IMAGES and not (job.source == CLONE and job.content_type == ARCHIVE):
        with IMAGES[job.source](job) as image:
            yield image
        return
    opener = _clone_files if job.source == CLONE else OPENERS.get(job.source)
    if opener is None:
        raise InvalidRequest(
            f"Unknown data source: {job.source}: expected one of {', '.join([*OPENERS, *IMAGES])}, {BLANK}"
        )
    with closing(ask(partial(opener, job))) as source:
        yield source


def expected(job: ImportJob) -> Expected | None:
    """What a job says its file's bytes are, or has a file of checksums say; None: nothing. Raises InvalidRequest."""
    if not (job.checksum or job.checksum_url):
        if job.keyring or job.signature_url:
            raise InvalidRequest(
                "a signature is over a file of checksums: say where that is (--checksum-url)"
            )
        return None
    if job.source in IMAGES:
        raise InvalidRequest(
            f"a checksum is over a file's bytes, and a source of kind {job.source} has none: leave it out"
        )
    if job.checksum and job.checksum_url:
        raise InvalidRequest("expected a checksum or the URL of a file of checksums, found both: give one")
    promised = checksum.parse(job.checksum) if job.checksum else _listed(job)
    return Expected(promised.algorithm, promised.hex)


def _listed(job: ImportJob) -> Checksum:
    """What a file of checksums says; it is asked with the source's secrets where it lies beside it."""
    from importer import sums

    return sums.promised(job.endpoint, job.checksum_url, partial(beside, job), job.signature_url, job.keyring)


def beside(job: ImportJob, url: str, limit: int) -> bytes:
    """A small document, such as a file of checksums or its signature: at most `limit` bytes and one more.

    The source's secrets go where the source is, and nowhere else; in a bucket it is asked for as the image is.
    """
    from importer import sums

    near = same_origin(job.endpoint, url)
    if near and job.source in BUCKETS:
        with opened(replace(job, endpoint=url)) as source:
            return b"" if isinstance(source, Image) else read(source, 0, limit + 1)
    return sums.got(url, limit, access(job) if near else public(job))


def public(job: ImportJob) -> Access:
    """The same without secrets: for others, and for those who sign in by themselves."""
    return replace(access(job), user="", password="", headers=())


def _http(job: ImportJob) -> Source:
    return Retrying(HttpSource(job.endpoint, access(job)))


def _registry(job: ImportJob) -> Source:
    from importer import registry

    return registry.opened(job)


def _s3(job: ImportJob) -> Source:
    from importer.s3 import S3Source, place

    return Retrying(S3Source(place(job.endpoint), s3_login(job), public(job), job.region))


def s3_login(job: ImportJob) -> "Login":
    """Who asks S3."""
    from importer.s3 import Login

    return Login(job.access_key, job.secret_key, job.session_token, job.anonymous, _instance_role())


def _gcs(job: ImportJob) -> Source:
    from importer.gcs import GcsSource, place

    key = "" if job.anonymous else job.credentials_file
    return Retrying(GcsSource(place(job.endpoint), key, public(job)))


def _instance_role() -> bool:
    """Whether the machine's metadata service may be asked for credentials: only where someone has said so."""
    return os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "false"


def access(job: ImportJob) -> Access:
    """How a job's source is asked, and with what secrets."""
    return Access(
        user=job.access_key,
        password=job.secret_key,
        headers=header_lines(job.extra_headers),
        ca_dir=job.cert_dir,
        insecure=job.insecure_tls,
        proxies={"http": job.http_proxy, "https": job.https_proxy},
        no_proxy=job.no_proxy,
        allowed=networks(job.allow_addresses),
    )


def _file(job: ImportJob) -> Source:
    return FileSource(Path(job.endpoint))


def _stdin(_: ImportJob) -> Source:
    return stdin.PipeSource()


OPENERS: Final[Mapping[str, Callable[[ImportJob], Source]]] = {
    "http": _http,
    "s3": _s3,
    "gcs": _gcs,
    REGISTRY: _registry,
    LOCAL: _file,
    STDIN: _stdin,
}
"""Kind of source -> what opens it."""


@runtime_checkable
class Flat(Image, Protocol):
    """An Image that someone else serves."""

    @property
    def about(self) -> Mapping[str, str]:
        """What its server says of itself: `version`, `host`."""


def _imageio(job: ImportJob) -> AbstractContextManager[Flat]:
    from importer import imageio

    return imageio.opened(job, access(job))


def _vddk(job: ImportJob) -> AbstractContextManager[Flat]:
    from importer import vddk

    return vddk.opened(job, access(job))


def _clone(job: ImportJob) -> AbstractContextManager[Image]:
    from importer import clone

    return clone.disk(job)


def _clone_files(job: ImportJob) -> Source:
    from importer import clone

    return clone.files(job)


IMAGES: Final[Mapping[str, Callable[[ImportJob], AbstractContextManager[Image]]]] = {
    "imageio": _imageio,
    "vddk": _vddk,
    CLONE: _clone,
}
"""Kind of source that gives flat disks -> what opens it, and takes leave of it."""


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
