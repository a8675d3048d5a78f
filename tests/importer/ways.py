"""Every way for an image to come in: put on the real thing that serves it, and what then fills a target from there."""

import os
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import requests

from diskyard.api.job import ImportJob
from diskyard.disk.ingest import ingest
from diskyard.disk.target import Result, Target
from importer.stdin import PipeSource
from importer.transfer import transfer
from tests.disk.tars import entry, tar
from tests.importer import oci
from tests.importer.stores import SECRET, USER

Ask = Callable[[str], Any]
Fill = Callable[[Target], Result]
Way = Callable[[Ask, Path, bytes], Fill]
"""`Ask` gives a server by its fixture's name; the folder is the image's own."""
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def http(path: str) -> Way:
    def way(ask: Ask, folder: Path, body: bytes) -> Fill:
        images = ask("images")
        (images.root / "matrix").write_bytes(body)
        return partial(transfer, ImportJob("http", images.url(f"{path}matrix")))

    return way


def s3(name: str) -> Way:
    def way(ask: Ask, folder: Path, body: bytes) -> Fill:
        store = ask(name)
        url = store.url(store.put(body, "the matrix's image"))
        return partial(transfer, ImportJob("s3", url, access_key=USER, secret_key=SECRET))

    return way


def gcs(ask: Ask, folder: Path, body: bytes) -> Fill:
    store = ask("gcs")
    return partial(transfer, ImportJob("gcs", store.url(store.put(body)), anonymous=True))


def registry(ask: Ask, folder: Path, body: bytes) -> Fill:
    layout = oci.Layout(folder / "layout")
    pushed(layout, layout.image([tar([entry("disk/image", body)])]), f"http://{ask('opened').host}/v2/matrix")
    return partial(
        transfer, ImportJob("registry", f"docker://{ask('opened').host}/matrix:v1", insecure_tls=True)
    )


def pushed(layout: oci.Layout, image: oci.Json, place: str) -> None:
    """What skopeo does, for an image of one platform, without starting it a hundred times."""
    with requests.Session() as session:
        for blob in (layout.folder / "blobs/sha256").iterdir():
            begun = session.post(f"{place}/blobs/uploads/").headers["Location"]
            session.put(begun, blob.read_bytes(), params={"digest": f"sha256:{blob.name}"}).raise_for_status()
        manifest = (layout.folder / "blobs/sha256" / image["digest"].removeprefix("sha256:")).read_bytes()
        session.put(f"{place}/manifests/v1", manifest, headers={"Content-Type": MANIFEST}).raise_for_status()


def archive(ask: Ask, folder: Path, body: bytes) -> Fill:
    layout = oci.Layout(folder / "layout")
    made = layout.write(layout.image([tar([entry("disk/image", body)])], "+zstd"))
    files = (path for path in made.rglob("*") if path.is_file())
    (folder / "image.tar").write_bytes(
        tar(entry(str(file.relative_to(made)), file.read_bytes()) for file in files)
    )
    return partial(transfer, ImportJob("registry", f"oci-archive:{folder / 'image.tar'}"))


def file(ask: Ask, folder: Path, body: bytes) -> Fill:
    (folder / "image").write_bytes(body)
    return partial(transfer, ImportJob("file", str(folder / "image")))


def stdin(ask: Ask, folder: Path, body: bytes) -> Fill:
    def fill(target: Target) -> Result:
        near, far = os.pipe()
        with os.fdopen(near, "rb"), closing(PipeSource(near)) as source:
            thread = threading.Thread(target=_poured, args=(far, body))
            thread.start()
            result = ingest(source, target)
            thread.join()
        return result

    return fill


def _poured(far: int, body: bytes) -> None:
    with os.fdopen(far, "wb") as pipe:
        pipe.write(body)


WAYS: dict[str, Way] = {
    "http": http(""),
    "http without ranges": http("no-ranges/"),
    "http after a redirect": http("moved/"),
    "Swift's S3": s3("swift"),
    "moto's S3": s3("moto"),
    "Google Cloud Storage": gcs,
    "a registry": registry,
    "an OCI archive": archive,
    "a file": file,
    "standard input": stdin,
}
KINDS = {"http", "s3", "gcs", "registry", "file", "stdin"}
"""The kinds of source among them."""
