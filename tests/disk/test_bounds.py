"""What bytes of a stranger's may cost: however little it takes to send them, memory and time have a bound."""

import gzip
import tarfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from backports import zstd

from diskyard.disk.archive import Archive
from diskyard.disk.extract import Modes, extract
from diskyard.disk.head import Headed
from diskyard.disk.ingest import ingest
from diskyard.disk.inspect import head_window, inspect, inspect_file
from diskyard.disk.preflight import HEAD, Route, preflight
from diskyard.disk.probe import Format
from diskyard.disk.qcow2 import Qcow2Decoder
from diskyard.disk.qcow2_format import header
from diskyard.disk.target import Target
from diskyard.errors import UnsafeImage, UnsupportedImage
from tests.disk.images import MIB, qemu_img
from tests.disk.sources import Bytes
from tests.disk.tars import entry, folder, tar


@dataclass
class Memory:
    """Bytes that were held at once, at most."""

    most: int = 0


@contextmanager
def counted() -> Iterator[Memory]:
    """What is allocated meanwhile, counted when it is over."""
    memory = Memory()
    tracemalloc.start()
    try:
        yield memory
    finally:
        memory.most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


def extended(records: bytes, kind: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    """An extended header."""
    return entry("about", records, type=kind)


def test_of_an_extended_header_only_what_means_something_is_kept() -> None:
    keys = b"".join(b"16 KEY%07d=v\n" % number for number in range(30_000))
    body = tar([extended(keys, b"g"), entry("disk", b"x")])

    with counted() as memory:
        names = [member.name for member in Archive(Bytes(body))]

    assert names == ["disk"]
    assert memory.most < 4 * MIB


def test_an_extended_header_takes_as_long_as_it_is() -> None:
    body = tar([extended(b"5 a=\n" * 200_000), entry("disk", b"x")])
    begun = time.process_time()

    names = [member.name for member in Archive(Bytes(body))]

    assert names == ["disk"]
    assert time.process_time() - begun < 5


def test_headers_before_one_member_have_an_end() -> None:
    body = tar([*[extended(b"10 path=x\n")] * 65, entry("disk", b"x")])

    with pytest.raises(UnsafeImage, match="more than 64 extended headers"):
        list(Archive(Bytes(body)))


def test_a_map_of_holes_that_goes_on_behind_the_end_is_cut_short() -> None:
    block = bytearray(tar([entry("sparse", b"x", type=b"S")])[:512])
    block[482] = 1
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)

    with pytest.raises(UnsupportedImage, match="cut short"):
        list(Archive(Bytes(bytes(block), ranged=False)))


def test_what_is_passed_over_has_an_end() -> None:
    body = tar([entry("junk", bytes(2 * MIB)), entry("disk", b"x")])

    assert len(list(Archive(Bytes(body), MIB))) == 2
    with pytest.raises(UnsafeImage, match=f"more than {MIB} bytes"):
        list(Archive(Bytes(body, ranged=False), MIB))


def test_directories_below_directories_are_not_kept_in_mind(tmp_path: Path) -> None:
    deep = "/d" * 120
    body = tar([entry(f"{number}{deep}/f") for number in range(15)])

    with counted() as memory:
        extract(Bytes(body, ranged=False), Target(tmp_path / "disk.img"))

    assert memory.most < 2 * MIB
    assert (tmp_path / f"14{deep}/f").exists()


def test_directories_with_modes_of_their_own_are_so_many() -> None:
    modes = Modes(5000)
    members = list(Archive(Bytes(tar(folder(f"{number:0200}") for number in range(20)))))

    for member in (*members[:10], *members[:10]):
        modes.keep(member.name, member)
    with pytest.raises(UnsafeImage, match="more than 10 directories"):
        modes.keep(members[10].name, members[10])


def test_a_qcow2_image_of_very_many_tables_is_left_to_qemu_img(tmp_path: Path) -> None:
    routes = []
    for size in ("512G", "513G"):
        qemu_img("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", str(tmp_path / "image"), size)
        head = (tmp_path / "image").read_bytes()
        routes.append(preflight(Headed(Bytes(head)), None).route)

    assert routes == [Route.DECODE, Route.SPOOL]


def test_what_is_known_of_tables_is_small(tmp_path: Path) -> None:
    qemu_img("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", str(tmp_path / "image"), "64G")
    head = header((tmp_path / "image").read_bytes()[:HEAD])
    l1 = b"".join((number << 12).to_bytes(8, "big") for number in range(1, head.l1_entries + 1))

    with counted() as memory:
        Qcow2Decoder(head, l1, None)

    assert memory.most < 4 * MIB


def test_zeros_behind_a_vmdk_image_have_an_end(gallery: Path, tmp_path: Path) -> None:
    image = (gallery / "stream.vmdk").read_bytes()

    ingest(Bytes(image + bytes(4 * MIB), sized=False, ranged=False), Target(tmp_path / "disk.img"))
    with pytest.raises(UnsupportedImage, match="something lies behind its end"):
        ingest(Bytes(image + bytes(70 * MIB), sized=False, ranged=False), Target(tmp_path / "other.img"))


def vmdk(description: bytes) -> bytes:
    """The head of a sparse vmdk image of 4 KiB, and its descriptor."""
    numbers = (
        (3, 4), (1, 4), (8, 8), (8, 8), (1, 8), (-(-len(description) // 512), 8), (512, 4), (0, 8), ((1 << 64) - 1, 8),
        (128, 8),
    )  # fmt: skip
    head = b"KDMV" + b"".join(number.to_bytes(length, "little") for number, length in numbers)
    return head.ljust(512, b"\0") + description


def test_a_vmdk_image_shorter_than_its_footer_is_cut_short(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(vmdk(b'createType="streamOptimized"\nRW 8 SPARSE "x"\n'))

    with pytest.raises(UnsupportedImage, match="cut short"):
        inspect_file(tmp_path / "image", Format.VMDK)


@pytest.mark.parametrize("filling", [b"\n", b" ", b"\n\n\nRW", b"RW 1\n", b"createType="])
def test_a_descriptor_of_a_vmdk_image_takes_as_long_as_it_is(filling: bytes) -> None:
    head = vmdk((filling * (1 << 16))[: 1 << 16])
    begun = time.process_time()

    with pytest.raises(UnsafeImage, match="of type unknown"):
        inspect(head_window(head, len(head)))

    assert time.process_time() - begun < 10


@pytest.mark.parametrize(
    "member",
    [gzip.compress(b""), gzip.compress(b"x"), b"\x50\x2a\x4d\x18" + bytes(4)],
    ids=["gz", "gz of a byte", "zst"],
)
def test_members_with_nothing_in_them_have_an_end(tmp_path: Path, member: bytes) -> None:
    first = zstd.compress(bytes(4096)) if member[0] == 0x50 else gzip.compress(bytes(4096))
    body = first + member * (1 << 14)

    with pytest.raises(UnsupportedImage, match="has 16385 members"):
        ingest(Bytes(body), Target(tmp_path / "disk.img"))
