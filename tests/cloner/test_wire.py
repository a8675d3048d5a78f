"""Extents on the wire: the disk at the other end is an Image like any other."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from cloner.volume import SourceVolume
from diskyard.disk import wire
from diskyard.disk.wire import WireImage
from diskyard.errors import SourceChanged, SourceMissing, SourceUnavailable
from tests.disk import images
from tests.disk.image_suite import ImageSuite, read
from tests.disk.images import MIB

Connect = Callable[[], socket.socket]


def served(folder: Path) -> Connect:
    """Connections to a volume, each with a thread that answers it."""
    volume = SourceVolume(folder, folder / "no-device")

    def answer(link: socket.socket) -> None:
        with link, suppress(OSError):
            wire.serve(volume, link)

    def connect() -> socket.socket:
        near, far = socket.socketpair()
        threading.Thread(target=answer, args=(far,), daemon=True).start()
        return near

    return connect


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return images.raw(tmp_path / "source" / "disk.img")


class TestWire(ImageSuite):
    @pytest.fixture
    def image(self, disk: Path) -> Iterator[WireImage]:
        with closing(WireImage(served(disk.parent))) as image:
            yield image


def test_zeros_are_never_sent_not_even_written_ones(disk: Path) -> None:
    with disk.open("r+b") as file:
        file.seek(4 * MIB)
        file.write(bytes(4 * MIB))
    received: list[int] = []
    with closing(WireImage(served(disk.parent), received.append)) as image:
        assert read(image, 4 * MIB, 4 * MIB) == bytes(4 * MIB)
    assert sum(received) < 100


def test_a_disk_in_small_pieces_is_asked_for_in_large_ones(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with (tmp_path / "source" / "disk.img").open("wb") as file:
        for number in range(64):
            file.seek(number * 128 << 10)
            file.write(b"x" * (64 << 10))
        file.truncate(24 * MIB)
    received: list[int] = []
    with closing(WireImage(served(tmp_path / "source"), received.append)) as image:
        assert len(list(image.extents())) == 2
        body = read(image, 0, 8 * MIB)
    same = body == (b"x" * (64 << 10) + bytes(64 << 10)) * 64
    assert same
    assert sum(received) < 5 * MIB


def test_a_source_that_is_written_to_is_not_gone_on_with(disk: Path) -> None:
    with closing(WireImage(served(disk.parent))) as image:
        with disk.open("r+b") as file:
            file.write(b"something else")
        with pytest.raises(SourceChanged, match="was written to"):
            read(image, 0, MIB)


def test_a_source_that_shrinks_is_named(disk: Path) -> None:
    with closing(WireImage(served(disk.parent))) as image:
        with disk.open("r+b") as file:
            file.truncate(MIB)
        with pytest.raises((SourceUnavailable, SourceChanged)):
            read(image, 20 * MIB, MIB)


def test_a_volume_without_a_disk_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match=r"no disk\.img"):
        WireImage(served(tmp_path))


def test_a_connection_that_breaks_is_made_again(disk: Path) -> None:
    connect = served(disk.parent)
    links: list[socket.socket] = []

    def kept() -> socket.socket:
        links.append(connect())
        return links[-1]

    with closing(WireImage(kept)) as image:
        links[0].shutdown(socket.SHUT_RDWR)
        assert read(image, 0, MIB) == disk.read_bytes()[:MIB]
    assert len(links) == 2


@pytest.mark.parametrize(
    "answer",
    [b"", b"\0", b"\0\0\0\0\4abcd", b"\xff" * 64, b"\0\xff\xff\xff\xff" + bytes(64)],
    ids=["nothing", "half", "no number", "noise", "endless"],
)
def test_an_answer_that_is_none_is_refused(answer: bytes) -> None:
    near, far = socket.socketpair()
    with near, far:
        far.sendall(answer)
        far.shutdown(socket.SHUT_WR)
        with pytest.raises((SourceUnavailable, SourceMissing)):
            wire._about(near)
