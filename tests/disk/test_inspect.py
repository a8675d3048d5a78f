"""Images that reach outside themselves, or are not images, are refused from their own bytes."""

import os
import struct
from pathlib import Path

import pytest

from diskyard.disk.inspect import file_window, head_window, inspect, inspect_file
from diskyard.disk.preflight import HEAD
from diskyard.disk.probe import Format
from diskyard.errors import UnsafeImage, UnsupportedImage
from tests.disk.images import MIB, qemu_img
from tests.disk.vmdks import Export

SIZE = 24 * MIB


def seen(path: Path) -> tuple[Format, int | None]:
    """What the head alone says."""
    return inspect(head_window(path.read_bytes()[:HEAD], path.stat().st_size))


def patched(path: Path, offset: int, content: bytes) -> Path:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)
    return path


@pytest.fixture
def qcow2(tmp_path: Path) -> Path:
    path = tmp_path / "image.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", str(path), "16M")
    return path


@pytest.mark.parametrize(
    ("name", "kind", "size"),
    [
        ("disk.raw", Format.RAW, SIZE),
        ("disk.qcow2", Format.QCOW2, SIZE),
        ("zlib.qcow2", Format.QCOW2, SIZE),
        ("zstd.qcow2", Format.QCOW2, SIZE),
        ("v2.qcow2", Format.QCOW2, SIZE),
        ("extended.qcow2", Format.QCOW2, SIZE),
        ("small.qcow2", Format.QCOW2, SIZE),
        ("disk.vmdk", Format.VMDK, SIZE),
        ("stream.vmdk", Format.VMDK, SIZE),
        ("disk.vdi", Format.VDI, SIZE),
        ("disk.vhd", Format.VHD, SIZE),
    ],
)
def test_tells_format_and_size_from_the_head(gallery: Path, name: str, kind: Format, size: int) -> None:
    assert seen(gallery / name) == (kind, size)


def test_tells_a_vhdx_disks_size_once_all_of_it_is_here(gallery: Path) -> None:
    assert seen(gallery / "disk.vhdx") == (Format.VHDX, None)
    assert inspect_file(gallery / "disk.vhdx", Format.VHDX) == SIZE


def test_an_iso_with_a_boot_sector_is_an_iso(tmp_path: Path) -> None:
    iso = bytearray(64 << 10)
    iso[0x1FE:0x200] = b"\x55\xaa"
    iso[0x8001:0x8006] = b"CD001"

    assert inspect(head_window(bytes(iso), len(iso))) == (Format.ISO, len(iso))


def test_refuses_a_backing_file_and_names_it(tmp_path: Path, qcow2: Path) -> None:
    overlay = tmp_path / "overlay.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(qcow2), str(overlay))

    with pytest.raises(UnsafeImage, match=r"invalid backing file '.*image.qcow2'.*qemu-img convert"):
        seen(overlay)


def test_refuses_an_external_data_file(tmp_path: Path) -> None:
    image = tmp_path / "image.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path}/outside.raw", str(image), "16M")

    with pytest.raises(UnsafeImage, match="data_file"):
        seen(image)


def test_refuses_a_data_file_whose_feature_bit_was_cleared(tmp_path: Path) -> None:
    image = tmp_path / "image.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path}/outside.raw", str(image), "16M")
    patched(image, 72, struct.pack(">Q", 0))

    with pytest.raises(UnsafeImage, match="data_file"):
        seen(image)


def test_refuses_an_encrypted_qcow2(tmp_path: Path) -> None:
    image = tmp_path / "image.qcow2"
    secret = ("--object", "secret,id=key,data=password")
    options = "encrypt.format=aes,encrypt.key-secret=key"
    qemu_img("create", "-q", "-f", "qcow2", *secret, "-o", options, str(image), "16M")

    with pytest.raises(UnsupportedImage, match="encrypted"):
        seen(image)


@pytest.mark.parametrize(
    ("what", "offset", "content", "words"),
    [
        ("an unknown incompatible feature", 72, struct.pack(">Q", 1 << 40), "features that we do not know"),
        ("a corrupt mark", 72, struct.pack(">Q", 2), "marked corrupt"),
        ("an unknown compression", 104, b"\x09", "compressed in a way"),
        ("an absurd size", 24, struct.pack(">Q", 1 << 62), "L1 entries"),
        ("no size", 24, struct.pack(">Q", 0), "expected between 1 byte and 64 TiB"),
        ("absurd clusters", 20, struct.pack(">I", 40), "clusters of 2"),
        ("an absurd L1 table", 36, struct.pack(">I", 1 << 30), "L1 entries"),
        ("an L1 table outside the file", 40, struct.pack(">Q", 1 << 40), "damaged or cut short"),
        ("an absurd refcount table", 56, struct.pack(">I", 1 << 30), "refcount table"),
        ("absurdly many snapshots", 60, struct.pack(">I", 1 << 30), "snapshots"),
        ("an absurd refcount order", 96, struct.pack(">I", 60), "refcount order"),
        ("an absurd header length", 100, struct.pack(">I", 1 << 30), "header says"),
        ("a version to come", 4, struct.pack(">I", 4), "version 4"),
    ],
)
def test_refuses_qcow2_headers_with(qcow2: Path, what: str, offset: int, content: bytes, words: str) -> None:
    with pytest.raises(UnsupportedImage, match=words):
        seen(patched(qcow2, offset, content))


def test_refuses_a_qcow2_header_that_is_cut_short() -> None:
    with pytest.raises(UnsupportedImage, match=r"cut short|at least 72"):
        inspect(head_window(b"QFI\xfb\0\0\0\3" + bytes(80), 88))


def descriptor(extents: str, kind: str = "monolithicFlat", more: str = "") -> bytes:
    return (
        f'# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="{kind}"\n{extents}\n{more}\n'
    ).encode()


def test_refuses_a_vmdk_descriptor_that_points_to_another_file() -> None:
    text = descriptor('RW 20480 FLAT "/etc/passwd" 0')

    with pytest.raises(UnsafeImage, match="lies in other files"):
        inspect(head_window(text, len(text)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (descriptor('RW 20480 FLAT "/etc/passwd" 0'), "type monolithicFlat"),
        (descriptor('RW 20480 FLAT "/etc/passwd" 0', "monolithicSparse"), "1 extents"),
        (descriptor('RW 8 SPARSE "a"\nRW 8 FLAT "/etc/passwd" 0', "monolithicSparse"), "2 extents"),
        (descriptor('RW 8 SPARSE "a"', "monolithicSparse", 'parentFileNameHint="/etc/passwd"'), "parent"),
        (descriptor('RW 8 SPARSE "a"', "streamOptimized", 'createType="vmfs"'), "streamOptimized, vmfs"),
    ],
)
def test_refuses_a_sparse_vmdk_whose_descriptor_reaches_outside(
    gallery: Path, tmp_path: Path, text: bytes, words: str
) -> None:
    image = tmp_path / "image.vmdk"
    image.write_bytes((gallery / "disk.vmdk").read_bytes())
    patched(image, 512, text.ljust(20 * 512, b"\0"))

    with pytest.raises(UnsafeImage, match=words):
        seen(image)


def test_refuses_a_sparse_vmdk_without_capacity_for_its_descriptor_would_decide(
    gallery: Path, tmp_path: Path
) -> None:
    image = tmp_path / "image.vmdk"
    image.write_bytes((gallery / "disk.vmdk").read_bytes())

    with pytest.raises(UnsafeImage, match="capacity of 0"):
        seen(patched(image, 12, bytes(8)))


def test_refuses_differencing_vdi_and_vhd_images(gallery: Path, tmp_path: Path) -> None:
    for name, offset, content in (("disk.vdi", 0x4C, b"\4\0\0\0"), ("disk.vhd", 60, b"\0\0\0\4")):
        image = tmp_path / name
        image.write_bytes((gallery / name).read_bytes())

        with pytest.raises(UnsafeImage, match="of type 4"):
            seen(patched(image, offset, content))


def test_refuses_an_image_that_is_two_things_at_once(qcow2: Path) -> None:
    patched(qcow2, 0x8001, b"CD001")

    with pytest.raises(UnsafeImage, match="qcow2 and iso at once"):
        seen(qcow2)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xef\xbb\xbf  <!DOCTYPE html><p>Log in", "web page"),
        (b"<?xml version='1.0'?><Error><Code>NoSuchKey", "web page"),
        (b"PK\x03\x04" + bytes(600), "zip archive"),
        (b"LUKS\xba\xbe\0\1" + bytes(600), "LUKS"),
        (b"QED\0" + bytes(600), "qed"),
    ],
)
def test_says_what_a_thing_is_that_is_no_disk(content: bytes, words: str) -> None:
    with pytest.raises(UnsupportedImage, match=words):
        inspect(head_window(content, len(content)))


def test_reads_nothing_outside_the_window(tmp_path: Path) -> None:
    path = tmp_path / "short"
    path.write_bytes(b"abc")
    fd = os.open(path, os.O_RDONLY)
    try:
        assert file_window(fd).at(10, 5) == b""
        assert file_window(fd).at(1, 50) == b"bc"
    finally:
        os.close(fd)


def test_refuses_a_sparse_vmdk_with_a_second_descriptor_where_qemu_img_looks(
    gallery: Path, tmp_path: Path
) -> None:
    """qemu-img looks for a parent in sector 1, wherever the header says that the descriptor is."""
    image = tmp_path / "image.vmdk"
    honest = (gallery / "disk.vmdk").read_bytes()
    image.write_bytes(honest + honest[512 : 21 * 512])
    hint = descriptor('RW 8 SPARSE "a"', "monolithicSparse", 'parentFileNameHint="/etc/passwd"')
    patched(image, 512, hint.ljust(20 * 512, b"\0"))
    patched(image, 28, struct.pack("<QQ", len(honest) // 512, 20))

    with pytest.raises(UnsafeImage, match="describes itself at 512"):
        seen(image)


def test_refuses_a_parent_behind_the_end_of_a_short_descriptor(gallery: Path, tmp_path: Path) -> None:
    image = tmp_path / "image.vmdk"
    image.write_bytes((gallery / "disk.vmdk").read_bytes())
    patched(image, 36, struct.pack("<Q", 2))
    patched(image, 15 * 512, b'\nparentFileNameHint="/etc/passwd"\n')

    with pytest.raises(UnsafeImage, match="parent"):
        seen(image)


def test_refuses_a_vmdk_whose_footer_is_another_header(tmp_path: Path) -> None:
    """qemu-img believes the footer: a larger disk, or other tables."""
    export = Export(8 * MIB)
    export.put(3, b"a" * 65536)
    image = tmp_path / "image.vmdk"
    image.write_bytes(export.finish())
    patched(image, image.stat().st_size - 1024 + 12, struct.pack("<Q", 1 << 40))

    with pytest.raises(UnsupportedImage, match="footer says something else"):
        inspect_file(image, Format.VMDK)
