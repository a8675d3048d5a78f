"""Looks at a source without importing it: which version is there now? For golden images that are kept current.

A URL that ends in `/` is a folder: of a bucket, the newest object in it counts; on a web server, what its file of
checksums names last, in the order of versions.
"""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import partial
from typing import Final
from urllib.parse import quote, urlsplit

from diskyard.api import checksum
from diskyard.api.checksum import Checksum
from diskyard.api.job import ImportJob
from diskyard.api.poll import Found, version_of
from diskyard.disk.image import Image
from diskyard.errors import InvalidRequest, SourceMissing, SourceUnavailable
from importer import registry, sums
from importer.request import get, shown
from importer.transfer import access, beside, opened, public, s3_login

ANY: Final = "*"
_NAMED: Final = 5
_NUMBER: Final = re.compile(r"(\d+)")


def found(job: ImportJob, pattern: str = "") -> Found:
    """The version that a job would import now; `pattern`: which files of a folder count.

    Raises InvalidRequest, SourceMissing, AccessDenied, SourceUnavailable, ChecksumMismatch.
    """
    if job.source == "registry":
        return Found(registry.digest(job))
    if job.source not in ("http", "s3", "gcs"):
        raise InvalidRequest(f"a source of kind {job.source} has no versions that can be looked at")
    folder = urlsplit(job.endpoint).path.endswith("/")
    if pattern and not folder:
        raise InvalidRequest(
            f"{shown(job.endpoint)} is one file, and a pattern is over many: end the URL in /"
        )
    if job.checksum_url:
        return _listed(job, pattern or ANY, folder=folder)
    if folder:
        return _newest(job, pattern or ANY)
    if job.checksum:
        promised = checksum.parse(job.checksum)
        return Found(f"{promised.algorithm}:{promised.hex}", checksum=job.checksum)
    return _versioned(job)


def newest(names: Iterable[str], pattern: str) -> str | None:
    """The last of the names that fit, numbers in them compared as numbers; None: none fits."""
    fitting = [each for each in names if fnmatchcase(each, pattern)]
    return max(fitting, key=_order, default=None)


def _order(name: str) -> tuple[tuple[int, int, str], ...]:
    """Numbers by their digits, of which a file of checksums may have millions."""
    parts = enumerate(_NUMBER.split(name))
    return tuple((1, len(n := part.lstrip("0")), n) if odd % 2 else (0, 0, part) for odd, part in parts)


def _listed(job: ImportJob, pattern: str, *, folder: bool) -> Found:
    """What the file of checksums says, signed where a keyring is given: of the URL's file, or of the newest one."""
    if not folder:
        said = sums.promised(
            job.endpoint, job.checksum_url, partial(beside, job), job.signature_url, job.keyring
        )
        return _checked(said, "")
    text = sums.document(job.checksum_url, partial(beside, job), job.signature_url, job.keyring)
    where = shown(job.checksum_url)
    names = {path.rpartition("/")[2] for path, _ in sums.lines(text)}
    name = newest(names, pattern)
    if name is None:
        some = ", ".join(sorted(names)[:_NAMED]) or "nothing"
        raise InvalidRequest(
            f"{where} names no file that fits {pattern!r}: it has {some}. Correct the pattern"
        )
    return _checked(sums.found(text, name, where), job.endpoint + quote(name))


def _checked(said: Checksum, url: str) -> Found:
    text = f"{said.algorithm}:{said.hex}"
    return Found(text, url, text)


def _newest(job: ImportJob, pattern: str) -> Found:
    """The newest object in a bucket's folder."""
    if job.source == "s3":
        from importer.s3_listing import newest_key

        return newest_key(job, s3_login(job), public(job), pattern)
    raise InvalidRequest(
        f"{shown(job.endpoint)} is a folder, and what is in it cannot be told: name the file of checksums that lists "
        "it, or one file"
    )


def _versioned(job: ImportJob) -> Found:
    """What the server says of the version: an ETag or a date, and its length."""
    if job.source == "http":
        return _web(job)
    with opened(job) as source:
        said = "" if isinstance(source, Image) else source.validator or ""
    if not said:
        raise SourceUnavailable(f"{shown(job.endpoint)} tells no version: expected an ETag or a generation")
    return Found(version_of(said), _pinned(job, said))


def _web(job: ImportJob) -> Found:
    """Weak versions count, too: nothing is pieced together by them. A page in an image's place is none."""
    answer = get(job.endpoint, access(job), {"Range": "bytes=0-0"})
    try:
        headers = answer.headers
        kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind in ("text/html", "application/xhtml+xml"):
            raise SourceMissing(
                f"{shown(job.endpoint)} is a web page ({kind}), expected a disk image: correct the URL, or ask whoever "
                "runs that server. The image before it stays"
            )
        tag, changed = headers.get("ETag", "").strip(), headers.get("Last-Modified", "").strip()
        if not tag and not changed:
            raise SourceUnavailable(
                f"{shown(job.endpoint)} tells no version: expected an ETag or Last-Modified. Name a file of checksums"
            )
        return Found(version_of(tag or changed))
    finally:
        answer.close()


def _pinned(job: ImportJob, validator: str) -> str:
    """A URL of that version alone, where the server keeps versions: `ETAG VERSION`, as our S3 source says it."""
    _, _, kept = validator.partition(" ")
    if job.source != "s3" or not kept or kept == "null" or "versionId=" in job.endpoint:
        return ""
    return f"{job.endpoint}{'&' if '?' in job.endpoint else '?'}versionId={quote(kept, safe='')}"
