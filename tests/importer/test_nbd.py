"""The NBD client against two real servers, and against one that lies."""

import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from diskyard.disk.extent import Extent
from diskyard.errors import SourceMissing, SourceUnavailable
from importer.nbd import NbdImage
from tests.builders import eventually
from tests.disk.image_suite import ImageSuite, read
from tests.disk.images import MIB, converted, raw


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return raw(tmp_path_factory.mktemp("nbd") / "disk.raw")


@contextmanager
def serving(*command: str) -> Iterator[socket.socket]:
    """A connection to a server that listens on the unix socket in the command's last argument but one."""
    place = Path(command[command.index("--") - 1])
    process = subprocess.Popen([word for word in command if word != "--"], stderr=subprocess.DEVNULL)
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(20)
            eventually(lambda: link.connect_ex(str(place)) == 0)
            yield link
    finally:
        process.kill()
        process.wait()


@contextmanager
def nbdkit(folder: Path, *plugin: str) -> Iterator[socket.socket]:
    with serving("nbdkit", "--foreground", "--unix", str(folder / "nbdkit"), "--", *plugin) as link:
        yield link


@contextmanager
def qemu_nbd(folder: Path, kind: str, image: Path) -> Iterator[socket.socket]:
    options = ("--read-only", "--export-name=", "--allocation-depth", f"--format={kind}")
    with serving("qemu-nbd", *options, "--socket", str(folder / "qemu"), "--", str(image)) as link:
        yield link


class TestNbdkitFile(ImageSuite):
    @pytest.fixture
    def image(self, disk: Path, tmp_path: Path) -> Iterator[NbdImage]:
        with nbdkit(tmp_path, "file", str(disk)) as link, closing(NbdImage(link)) as image:
            yield image


class TestQemu(ImageSuite):
    @pytest.fixture
    def image(self, disk: Path, tmp_path: Path) -> Iterator[NbdImage]:
        qcow2 = converted(disk, tmp_path / "disk.qcow2", "qcow2")
        with qemu_nbd(tmp_path, "qcow2", qcow2) as link, closing(NbdImage(link)) as image:
            yield image


class TestNbdkitThatTakesWholeSectorsOnly(ImageSuite):
    @pytest.fixture
    def image(self, disk: Path, tmp_path: Path) -> Iterator[NbdImage]:
        plugin = (
            "--filter=blocksize-policy", "file", str(disk),
            "blocksize-minimum=512", "blocksize-error-policy=error",
        )  # fmt: skip
        with nbdkit(tmp_path, *plugin) as link, closing(NbdImage(link)) as image:
            yield image


def test_a_server_that_knows_no_contexts_has_one_extent_of_data() -> None:
    found: list[Extent] = []

    lying(ready(context=False), lambda image: found.extend(image.extents()))

    assert found == [Extent(0, MIB, zero=False)]


def test_a_server_that_cannot_tell_extents_has_one_of_data(tmp_path: Path) -> None:
    with nbdkit(tmp_path, "--filter=noextents", "memory", "1M") as link, closing(NbdImage(link)) as image:
        assert list(image.extents()) == [Extent(0, MIB, zero=True)] or not any(
            e.zero for e in image.extents()
        )


def test_a_disk_of_many_terabytes_is_asked_for_in_portions(tmp_path: Path) -> None:
    with nbdkit(tmp_path, "memory", "6T") as link, closing(NbdImage(link)) as image:
        assert list(image.extents()) == [Extent(0, 6 << 40, zero=True)]


def test_an_empty_disk_has_no_extents(tmp_path: Path) -> None:
    with nbdkit(tmp_path, "null", "size=0") as link, closing(NbdImage(link)) as image:
        assert (image.size, list(image.extents())) == (0, [])


def test_answers_in_any_order_come_to_their_places(tmp_path: Path) -> None:
    plugin = ("--filter=delay", "pattern", "size=8M", "delay-read=5ms")
    with nbdkit(tmp_path, *plugin) as link, closing(NbdImage(link)) as image:
        body = read(image, 0, 8 * MIB)

    assert body == b"".join(struct.pack(">Q", at) for at in range(0, 8 * MIB, 8))


def test_an_error_of_the_disk_is_told(tmp_path: Path) -> None:
    plugin = ("--filter=error", "memory", "1M", "error-pread-rate=100%", "error=EIO")
    with (
        nbdkit(tmp_path, *plugin) as link,
        closing(NbdImage(link)) as image,
        pytest.raises(SourceUnavailable, match="error 5"),
    ):
        read(image, 0, 4096)


def test_a_server_that_dies_is_told(disk: Path, tmp_path: Path) -> None:
    with nbdkit(tmp_path, "file", str(disk)) as link:
        image = NbdImage(link)

    with pytest.raises(SourceUnavailable):
        read(image, 0, MIB)


def test_an_export_that_is_not_there_is_missing(disk: Path, tmp_path: Path) -> None:
    with qemu_nbd(tmp_path, "raw", disk) as link, pytest.raises(SourceMissing, match="'other'"):
        NbdImage(link, "other")


GREETING = b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3)


def option_reply(option: int, kind: int, body: bytes = b"") -> bytes:
    return struct.pack(">QIII", 0x3E889045565A9, option, kind, len(body)) + body


def ready(size: int = MIB, *, context: bool = True) -> bytes:
    """What a server says until the first request."""
    told = option_reply(10, 4, struct.pack(">I", 7) + b"base:allocation") if context else b""
    export = struct.pack(">HQH", 0, size, 1)
    agreed = option_reply(8, 1) + told + option_reply(10, 1)
    return GREETING + agreed + option_reply(7, 3, export) + option_reply(7, 1)


def chunk(kind: int, body: bytes = b"", *, cookie: int = 1, done: bool = True) -> bytes:
    return struct.pack(">IHHQI", 0x668E33EF, int(done), kind, cookie, len(body)) + body


def lying(script: bytes, ask: Callable[[NbdImage], object]) -> None:
    """Talk to a server that says its script whatever it hears, then hangs up."""
    ours, theirs = socket.socketpair()
    ours.settimeout(5)

    def say() -> None:
        with suppress(OSError):
            theirs.sendall(script)
            theirs.shutdown(socket.SHUT_WR)
            while theirs.recv(4096):
                pass

    thread = threading.Thread(target=say)
    thread.start()
    try:
        with ours:
            ask(NbdImage(ours))
    finally:
        thread.join()
        theirs.close()


WRONG = {
    "something that is no NBD server": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "an old server": b"NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53\x00\x00",
    "a server without structured replies": GREETING + option_reply(8, (1 << 31) + 1),
    "a reply that never ends": GREETING + struct.pack(">QIII", 0x3E889045565A9, 8, 1, 1 << 30),
    "replies without end": GREETING + option_reply(8, 3) * 100,
    "no size": GREETING + option_reply(8, 1) + option_reply(10, 1) + option_reply(7, 1),
    "an absurd size": ready(1 << 63),
    "a simple reply": ready() + struct.pack(">IIQ", 0x67446698, 0, 1),
    "an answer that nobody asked for": ready() + chunk(1, bytes(8 + 4096), cookie=99),
    "bytes from elsewhere": ready() + chunk(1, struct.pack(">Q", 8192) + bytes(4096)),
    "more bytes than were asked for": ready() + chunk(1, struct.pack(">Q", 0) + bytes(8192)),
    "the same bytes twice": ready() + chunk(1, bytes(8 + 4096), done=False) + chunk(1, bytes(8 + 4096)),
    "fewer bytes than were asked for": ready() + chunk(1, bytes(8 + 100)),
    "no bytes at all": ready() + chunk(0),
    "a hole of no length": ready() + chunk(2, bytes(12)),
    "a chunk too short for its offset": ready() + chunk(1, bytes(3)),
    "an error too long to read": ready() + struct.pack(">IHHQI", 0x668E33EF, 1, 0x8001, 1, 1 << 30),
    "a hole of more than was asked for": ready() + chunk(2, struct.pack(">QI", 0, 1 << 31)),
    "silence": ready(),
}


@pytest.mark.parametrize("script", WRONG.values(), ids=WRONG)
def test_a_server_that_lies_is_found_out_while_reading(script: bytes) -> None:
    with pytest.raises(SourceUnavailable, match="the NBD server failed"):
        lying(script, lambda image: read(image, 0, 4096))


@pytest.mark.parametrize(
    "script",
    [chunk(5, bytes(4)), chunk(5, bytes(12)), chunk(5, b"odd"), chunk(0), chunk(1, bytes(20)), chunk(5, cookie=2)],
    ids=["no extent", "an extent of no length", "half a one", "no answer", "data", "another's answer"],
)  # fmt: skip
def test_a_server_that_lies_is_found_out_while_telling_extents(script: bytes) -> None:
    with pytest.raises(SourceUnavailable, match="the NBD server failed"):
        lying(ready() + script, lambda image: list(image.extents()))
