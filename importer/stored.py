"""Disks by way of the node's image store: fetched once, and by nobody who could not have fetched them himself.

What is asked for is asked of its source first, by the credentials of who asks: the answer names the image, and shows
that he could have fetched it. Only then is it looked up. What a name meant is remembered for him alone.
"""

import hashlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from diskyard.api.job import ImportJob
from diskyard.api.lending import IF_NOT_PRESENT, NEVER, Lending
from diskyard.disk import space
from diskyard.disk.digest import Expected
from diskyard.disk.image import Image
from diskyard.disk.imagestore import ImageStore
from diskyard.disk.ingest import ingest
from diskyard.disk.probe import Format
from diskyard.disk.stored import Entry, Identity
from diskyard.disk.target import Expect, OnProgress, Progress, Result, Target
from diskyard.errors import DiskyardError, ImageTooLarge, InvalidRequest, NoSpace, NotStored
from diskyard.log import logger
from importer import registry
from importer.http import looked_at
from importer.registry.manifest import check_architecture
from importer.registry.reference import reference
from importer.retry import patiently
from importer.transfer import DISK, REGISTRY, access, expected, name_of, opened, transfer

_CHECKED: Final = ("http", "s3", "gcs")
"""Sources whose files a checksum may name."""
_STRONG: Final = ("sha256", "sha384", "sha512")
_FETCHING: Final = 0.9
"""Of the whole, what fetching is where the disk is then copied."""

log = logger("stored")


def lent(job: ImportJob, lending: Lending, on_progress: OnProgress) -> Result:
    """Take a lease of a container image's disk, fetched if it must be and may be.

    Raises what `transfer` raises, NotStored where it is not there and nothing is to be fetched.
    """
    store = ImageStore(Path(lending.folder))
    name = _name(job, lending)
    held = store.recalled(name) if lending.policy in (IF_NOT_PRESENT, NEVER) else None
    got = store.lease(held, lending.lease, lending.lease_of) if held else None
    if got is None:
        what, pinned = _asked(job, lending)
        fill = partial(_fetched, pinned, on_progress) if lending.policy != NEVER else None
        got = store.lease(what, lending.lease, lending.lease_of, fill)
        if got is None:
            raise _not_stored(job, "nobody has fetched it yet")
        store.remember(name, what)
    entry, result = got
    try:
        check_architecture(entry.architecture, job.architecture)
    except InvalidRequest:
        store.release(lending.lease)
        raise
    on_progress(Progress("complete", percent=100.0, fetched=result.bytes_fetched if result else 0))
    log.info("leased", **_about(entry), fetched=result is not None)
    return result or Result(Format.RAW, entry.size, 0, 0, "", labels=entry.labels)


def filled(job: ImportJob, lending: Lending, target: Target, on_progress: OnProgress) -> Result:
    """Fill a target from the store where the image's digest is known, as `transfer` does where it is not."""
    if not lending.folder or job.content_type != DISK or job.checkpoint:
        return transfer(job, target, on_progress)
    if job.source == REGISTRY and job.endpoint.startswith("docker://"):
        what, pinned = _asked(job, lending)
        return _copied(lending, target, what, _Fetch(partial(_fetched, pinned), pinned), on_progress)
    promised = patiently(partial(expected, job)) if job.source in _CHECKED else None
    if promised is None or promised.algorithm not in _STRONG:
        return transfer(job, target, on_progress)
    what = _file(job, promised)
    return _copied(lending, target, what, _Fetch(partial(_fetched, job), job), on_progress)


def _asked(job: ImportJob, lending: Lending) -> tuple[Identity, ImportJob]:
    """What the registry says that the reference means now, and the job that fetches exactly that."""
    try:
        found = patiently(partial(registry.resolved, job))
    except DiskyardError as error:
        if lending.policy == NEVER:
            raise _not_stored(job, f"its registry was asked whether you may use it: {error}") from error
        raise
    part = " ".join(filter(None, (job.image_path, registry.foreign(job.architecture))))
    what = Identity(f"docker://{found.host}/{found.path}", found.digest, part)
    return what, replace(job, endpoint=f"docker://{found}")


def _file(job: ImportJob, promised: Expected) -> Identity:
    """A file by its checksum, and by the length and version that its server says: a page in its place has others."""
    if job.source == "http":
        size, version = patiently(partial(looked_at, job.endpoint, access(job)))
    else:
        with opened(job, patiently) as source:
            size, version = source.size, "" if isinstance(source, Image) else source.validator or ""
    url = urlsplit(job.endpoint)
    query = f"?{hashlib.sha256(url.query.encode()).hexdigest()[:16]}" if url.query else ""
    origin = urlunsplit((url.scheme, url.netloc.rpartition("@")[2], url.path, "", "")) + query
    return Identity(
        origin,
        f"{promised.algorithm}:{promised.hex}",
        f"{size or ''} {version}".strip(),
    )


def _fetched(job: ImportJob, on_progress: OnProgress, target: Target) -> Result:
    return transfer(job, target, on_progress)


class _Unfit(Exception):
    """The disk fits the store and not the target: a refusal that no eviction mends."""


class _Fetch:
    """How an image is brought into the store."""

    def __init__(self, bring: Callable[[OnProgress, Target], Result], job: ImportJob) -> None:
        self._bring = bring
        self.job = job

    def into(self, room: int | None, on_progress: OnProgress, place: Target) -> Result:
        """Bring it; `room`: of what the disk is for."""
        most = place.room if room is None else min(room, place.room or 0)
        try:
            return self._bring(partial(_first, on_progress), replace(place, room=most))
        except ImageTooLarge as error:
            if most == room:
                raise _Unfit from error
            raise


def _copied(
    lending: Lending, target: Target, what: Identity, fetch: _Fetch, on_progress: OnProgress
) -> Result:
    """The disk, copied out of the store; fetched for itself where the store has no room."""
    try:
        store = ImageStore(Path(lending.folder))
        got = store.opened(what, partial(fetch.into, target.room, on_progress))
    except _Unfit as unfit:
        raise unfit.__cause__ or unfit from None
    except (NoSpace, OSError) as error:
        if isinstance(error, OSError) and error.errno not in space.FULL:
            raise
        log.warning("the image is not kept", because=error)
        return transfer(fetch.job, target, on_progress)
    assert got is not None
    entry, result, image = got
    net = result.bytes_fetched if result else 0
    with closing(image):
        check_architecture(entry.architecture, fetch.job.architecture)
        expect = Expect(f"store:{what.key}", name_of(fetch.job))
        said = partial(_second, on_progress, net, _FETCHING if result else 0.0)
        copied = ingest(image, target, expect=expect, on_progress=said)
    log.info("copied from the image store", **_about(entry), fetched=net)
    kind = result.format if result else copied.format
    digest = what.digest if fetch.job.source != REGISTRY else ""
    return replace(
        copied, format=kind, bytes_fetched=net, digest=digest, labels=entry.labels, stored=result is None
    )


def _first(on_progress: OnProgress, progress: Progress) -> None:
    phase = "transferring" if progress.phase == "complete" else progress.phase
    on_progress(replace(progress, phase=phase, percent=progress.percent * _FETCHING, journal=""))


def _second(on_progress: OnProgress, net: int, before: float, progress: Progress) -> None:
    percent = 100 * before + progress.percent * (1 - before)
    on_progress(replace(progress, fetched=net, total=None, percent=percent))


def _name(job: ImportJob, lending: Lending) -> str:
    """All on which it depends what a reference means: who asks, by what credentials, trusting whom."""
    secret = Path(job.auth_file).read_bytes() if job.auth_file else b""
    who = hashlib.sha256(f"{job.access_key}\n{job.secret_key}\n".encode() + secret).hexdigest()
    trust = (",".join(job.registry_mirrors), str(job.insecure_tls), ",".join(job.insecure_registries))
    return "\n".join(
        (lending.tenant, str(reference(job.endpoint)), job.image_path, job.architecture, who, *trust)
    )


def _not_stored(job: ImportJob, why: str) -> NotStored:
    return NotStored(
        f"{name_of(job)} is not in this node's image store, and imagePullPolicy Never lets nothing be fetched: {why}. "
        "Say IfNotPresent, or start it once with another policy on this node"
    )


def _about(entry: Entry) -> dict[str, str]:
    return {"image": entry.identity.origin, "digest": entry.identity.digest}
