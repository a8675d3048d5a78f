"""One cluster unpacks to what it should be, and to nothing else."""

import pytest
import zstandard

from diskyard.disk.codec import unzstd
from diskyard.errors import UnsupportedImage

CLUSTER = 64 << 10
BODY = b"disk" * (CLUSTER // 4)


@pytest.mark.parametrize("said", [True, False], ids=["length said", "length not said"])
def test_a_zstd_frame_unpacks_whatever_follows_it(said: bool) -> None:
    packed = zstandard.ZstdCompressor(write_content_size=said).compress(BODY)

    assert unzstd(packed + b"more", CLUSTER) == BODY
    assert unzstd(memoryview(packed), CLUSTER) == BODY


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"no frame at all",
        zstandard.compress(BODY)[:-9],
        zstandard.compress(BODY + b"more"),
        zstandard.compress(BODY[:-1]),
        zstandard.ZstdCompressor(write_content_size=False).compress(BODY + b"more"),
        b"\x28\xb5\x2f\xfd\xe0" + (1 << 50).to_bytes(8, "little") + bytes(20),
    ],
    ids=["nothing", "no frame", "cut short", "too long", "too short", "too long, unsaid", "promises 1 PiB"],
)
def test_refuses_a_zstd_frame_that_is(packed: bytes) -> None:
    with pytest.raises(UnsupportedImage, match="the image is damaged: a cluster"):
        unzstd(packed, CLUSTER)
