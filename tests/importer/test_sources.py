"""Every Source passes one suite, on the real thing that it reads from."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from importer.file import FileSource
from importer.gcs import GcsSource
from importer.gcs import place as gcs_place
from importer.http import HttpSource
from importer.request import Access
from importer.s3 import Login, S3Source
from importer.s3 import place as s3_place
from tests.disk.source_suite import RangedSourceSuite, Served
from tests.imageserver import ImageServer
from tests.importer.stores import OWNER, GcsStore, S3Store


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class TestFile(RangedSourceSuite):
    @pytest.fixture
    def served(self, tmp_path: Path, closing: ExitStack) -> Served:
        numbers = count()

        def served(body: bytes) -> FileSource:
            path = tmp_path / f"{next(numbers)}.img"
            path.write_bytes(body)
            source = FileSource(path)
            closing.callback(source.close)
            return source

        return served


class TestHttp(RangedSourceSuite):
    @pytest.fixture
    def served(self, images: ImageServer, tmp_path: Path, closing: ExitStack) -> Served:
        numbers = count()

        def served(body: bytes) -> HttpSource:
            path = images.root / f"{tmp_path.name}-{next(numbers)}.img"
            path.write_bytes(body)
            closing.callback(path.unlink)
            source = HttpSource(images.url(path.name), Access())
            closing.callback(source.close)
            return source

        return served


def of_s3(store: S3Store, login: Login, closing: ExitStack) -> Callable[[bytes], S3Source]:
    def served(body: bytes) -> S3Source:
        source = S3Source(s3_place(store.url(store.put(body))), login, Access())
        closing.callback(source.close)
        return source

    return served


class TestS3OnSwift(RangedSourceSuite):
    @pytest.fixture
    def served(self, swift: S3Store, closing: ExitStack) -> Served:
        return of_s3(swift, OWNER, closing)


class TestS3OnMoto(RangedSourceSuite):
    @pytest.fixture
    def served(self, moto: S3Store, closing: ExitStack) -> Served:
        return of_s3(moto, OWNER, closing)


class TestGcs(RangedSourceSuite):
    @pytest.fixture
    def served(self, gcs: GcsStore, closing: ExitStack) -> Served:
        def served(body: bytes) -> GcsSource:
            source = GcsSource(gcs_place(gcs.url(gcs.put(body))), "", Access())
            closing.callback(source.close)
            return source

        return served
