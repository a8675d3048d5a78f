"""How long no byte has come, as the kernel tells it, while a read waits."""

import threading
from contextlib import closing, suppress

from diskyard.disk.source import Source, silence
from diskyard.errors import SourceUnavailable
from importer.http import HttpSource
from importer.request import Access
from importer.retry import Retrying
from importer.s3 import Login, S3Source, place
from tests.builders import eventually
from tests.disk.images import MIB
from tests.faults.behaviours import stall
from tests.imageserver import ImageServer, fault_server

BODY = bytes(MIB)
HALF = len(BODY) // 2


def test_a_read_that_waits_knows_for_how_long_nothing_has_come() -> None:
    released = threading.Event()
    with (
        fault_server(BODY, stall(HALF, released)) as server,
        closing(Retrying(HttpSource(server.url(), Access()))) as source,
    ):
        assert silence(source) is None
        reader = threading.Thread(target=_drain, args=(source,))
        reader.start()

        assert eventually(lambda: (silence(source) or 0.0) > 0.3, 60)
        released.set()
        reader.join()

        assert silence(source) is None


def test_a_read_from_s3_knows_it_too(images: ImageServer) -> None:
    (images.root / "silent.raw").write_bytes(bytes(12 * MIB))
    url = images.url("crawl/silent.raw")
    with closing(S3Source(place(url), Login(anonymous=True), Access(), "us-east-1")) as source:
        reader = threading.Thread(target=_drain, args=(source,))
        reader.start()

        assert eventually(lambda: silence(source) is not None, 60)
        source.close()
        reader.join()


def _drain(source: Source) -> None:
    buf = memoryview(bytearray(HALF))
    offset = 0
    with suppress(SourceUnavailable):  # the server has hung up, or we have
        while count := source.readinto(buf, offset):
            offset += count
