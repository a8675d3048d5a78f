"""From a job to a disk: where to ask for the image, which platform's it is, and the layer that has the disk."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from diskyard import linux
from diskyard.api.job import ImportJob
from diskyard.errors import DiskyardError, InvalidRequest, UnsupportedImage
from diskyard.log import logger
from importer.address import networks
from importer.registry.blob import Store, check, document
from importer.registry.client import Repository
from importer.registry.credentials import Login, login
from importer.registry.layers import LayerDisk, Wanted, disk
from importer.registry.layout import Layout, path_and_tag
from importer.registry.manifest import (
    Descriptor,
    Manifest,
    check_architecture,
    chosen,
    config,
    parsed,
)
from importer.registry.reference import DIGEST, Reference, reference
from importer.request import Access

DOCKER: Final = "docker://"
OCI_ARCHIVE: Final = "oci-archive:"
_MAX_INDEXES: Final = 3
"""An index may name indexes; no more of them than this."""

log = logger("registry")


def opened(job: ImportJob) -> LayerDisk:
    """The disk of the image that a job names.

    Raises InvalidRequest, SourceMissing, AccessDenied, UnsupportedImage, SourceUnavailable, ChecksumMismatch.
    """
    if job.endpoint.startswith(OCI_ARCHIVE):
        path, tag = path_and_tag(job.endpoint)
        return _disk(Layout(path), tag, job)
    if not job.endpoint.startswith(DOCKER):
        raise InvalidRequest(f"Invalid source URL scheme: {job.endpoint}: expected docker:// or oci-archive:")
    image = reference(job.endpoint)
    for mirror in _mirrors(job, image):
        try:
            return _disk(_repository(job, mirror, None), image.version, job)
        except DiskyardError as error:
            log.warning("the mirror does not have it, asking the next", mirror=mirror.host, because=error)
    return _disk(_repository(job, image, _own(job), insecure=job.insecure_tls), image.version, job)


def digest(job: ImportJob) -> str:
    """`sha256:` of what a job's reference names now: one small document is fetched, no layer. Raises as `opened`."""
    if not job.endpoint.startswith(DOCKER):
        raise InvalidRequest(f"{job.endpoint} does not change by itself: expected docker://HOST/NAME:TAG")
    image = reference(job.endpoint)
    if image.digest:
        return image.digest
    for mirror in _mirrors(job, image):
        try:
            return _digest(_repository(job, mirror, None), image.version)
        except DiskyardError as error:
            log.warning("the mirror does not have it, asking the next", mirror=mirror.host, because=error)
    return _digest(_repository(job, image, _own(job), insecure=job.insecure_tls), image.version)


def resolved(job: ImportJob) -> Reference:
    """The image of the job's platform, by its digest: who is answered could fetch it. No layer is. Raises as `opened`.

    Also of a reference that has a digest its registry is asked: that answers for these credentials.
    """
    image = reference(job.endpoint)
    for mirror in _mirrors(job, image):
        try:
            return _pinned(image, _repository(job, mirror, None), job)
        except DiskyardError as error:
            log.warning("the mirror does not have it, asking the next", mirror=mirror.host, because=error)
    return _pinned(image, _repository(job, image, _own(job), insecure=job.insecure_tls), job)


def _pinned(image: Reference, repository: Repository, job: ImportJob) -> Reference:
    found, _ = _image(repository, image.version, _architecture(job))
    return replace(image, tag="", digest=found)


def _digest(repository: Repository, version: str) -> str:
    """distribution-spec: a manifest's digest is that of its bytes."""
    return f"sha256:{hashlib.sha256(repository.manifest(version)).hexdigest()}"


def _disk(store: Store, version: str, job: ImportJob) -> LayerDisk:
    _, image = _image(store, version, _architecture(job))
    said = config(document(store.blob(image.config), image.config, store.name), store.name)
    check_architecture(said.architecture, job.architecture)
    return disk(store, image.layers, said, Wanted.at(job.image_path))


def _architecture(job: ImportJob) -> str:
    return job.architecture or linux.architecture()


def foreign(architecture: str) -> str:
    """The architecture where it is not this machine's own, for which images are chosen unasked; else empty."""
    return "" if architecture == linux.architecture() else architecture


def _image(store: Store, version: str, architecture: str) -> tuple[str, Manifest]:
    """The image's manifest and its digest, by way of as many indexes as there are, each verified by what names it."""
    raw = store.manifest(version)
    name = version if DIGEST.fullmatch(version) else f"sha256:{hashlib.sha256(raw).hexdigest()}"
    _check(raw, Descriptor(name, len(raw)), store.name)
    for _ in range(_MAX_INDEXES):
        said = parsed(raw, store.name)
        if isinstance(said, Manifest):
            return name, said
        found = chosen(said, version, architecture, store.name)
        name, raw = found.digest, store.manifest(found.digest)
        _check(raw, found, store.name)
    raise UnsupportedImage(f"{store.name} is an index of indexes of indexes: expected an image")


def _check(raw: bytes, promised: Descriptor, name: str) -> None:
    found = hashlib.new(promised.digest.partition(":")[0], raw).hexdigest()
    check(promised, len(raw), found, name)


def _own(job: ImportJob) -> Login | None:
    return Login(job.access_key, job.secret_key) if job.access_key or job.secret_key else None


def _repository(job: ImportJob, image: Reference, own: Login | None, *, insecure: bool = False) -> Repository:
    access = Access(
        ca_dir=job.cert_dir,
        insecure=insecure or image.host in job.insecure_registries,
        proxies={"http": job.http_proxy, "https": job.https_proxy},
        no_proxy=job.no_proxy,
        allowed=networks(job.allow_addresses),
    )
    known = own or (login(Path(job.auth_file), image) if job.auth_file else None)
    return Repository(image, access, known)


def _mirrors(job: ImportJob, image: Reference) -> Iterator[Reference]:
    """The same image at each mirror of its registry: `REGISTRY=HOST[:PORT][/PREFIX]`."""
    for line in job.registry_mirrors:
        registry, equals, place = line.partition("=")
        host, _, prefix = place.strip().partition("/")
        if not equals or not host or "://" in place:
            raise InvalidRequest(
                f"expected a registry mirror to look like docker.io=mirror.example:5000, found {line!r}"
            )
        if registry.strip() == image.host:
            path = f"{prefix.strip('/')}/{image.path}" if prefix else image.path
            yield Reference(host, path, image.tag, image.digest)
