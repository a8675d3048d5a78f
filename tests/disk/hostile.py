"""Images that try to read, or to fill, what is not theirs: one maker per family of published flaws.

Each maker gets an empty folder, with a canary in it that nobody may read, and gives the image.
"""

import gzip
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

from tests.disk.images import MIB, converted, qemu_img
from tests.disk.tars import entry, link, tar
from tests.disk.vmdks import DESCRIPTOR, Export

CANARY = b"CANARY"
SIZE = MIB
Maker = Callable[[Path], bytes]
"""(path of the canary) -> the image."""


def _qcow2(canary: Path, *options: str) -> bytes:
    image = canary.with_name("hostile.qcow2")
    qemu_img("create", "-q", "-f", "qcow2", *options, str(image), str(SIZE))
    return image.read_bytes()


def backing(canary: Path) -> bytes:
    return _qcow2(canary, "-u", "-F", "raw", "-b", str(canary))


def backing_as_json(canary: Path) -> bytes:
    name = f'json:{{"driver":"raw","file":{{"driver":"file","filename":"{canary}"}}}}'
    return _qcow2(canary, "-u", "-F", "raw", "-b", name)


def backing_by_protocol(canary: Path) -> bytes:
    return _qcow2(canary, "-u", "-F", "raw", "-b", "nbd:unix:/run/some.socket")


def backing_of_an_old_image(canary: Path) -> bytes:
    return _qcow2(canary, "-o", "compat=0.10", "-u", "-F", "raw", "-b", str(canary))


def data_file(canary: Path) -> bytes:
    body = _qcow2(canary, "-o", f"data_file={canary},data_file_raw=on")
    canary.write_bytes(CANARY * (SIZE // len(CANARY)))
    return body


def data_file_without_its_bit(canary: Path) -> bytes:
    body = bytearray(data_file(canary))
    body[72:80] = bytes(8)
    return bytes(body)


def _descriptor(extent: str, kind: str) -> bytes:
    text = f'# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="{kind}"\n{extent}\n'
    return text.encode().ljust(1024, b"\n")


def vmdk_flat_extent(canary: Path) -> bytes:
    return _descriptor(f'RW {SIZE // 512} FLAT "{canary}" 0', "monolithicFlat")


def vmdk_device_extent(canary: Path) -> bytes:
    return _descriptor(f'RW {SIZE // 512} VMFS "{canary}"', "vmfs")


def vmdk_flat_extent_in_a_sparse_header(canary: Path) -> bytes:
    export = Export(SIZE)
    export.image[512 : 512 + 1024] = vmdk_flat_extent(canary)
    return export.finish()


def vmdk_without_capacity(canary: Path) -> bytes:
    """qemu-img then believes the descriptor alone."""
    body = bytearray(vmdk_flat_extent_in_a_sparse_header(canary))
    body[12:20] = bytes(8)
    return bytes(body)


def vmdk_parent(canary: Path) -> bytes:
    export = Export(SIZE)
    text = DESCRIPTOR % (SIZE // 512) + f'parentFileNameHint="{canary}"\n'.encode()
    export.image[512 : 512 + len(text)] = text
    return export.finish()


def vmdk_parent_where_only_qemu_looks(canary: Path) -> bytes:
    """A clean descriptor for inspectors at the end, another one in sector 1."""
    parent = converted(canary, canary.with_name("parent.vmdk"), "vmdk")
    mark = next(line for line in parent.read_bytes()[512:4096].split(b"\n") if line.startswith(b"CID="))
    body = bytearray(_sparse(canary))
    clean = bytes(body[512 : 21 * 512])
    evil = clean.rstrip(b"\0").replace(b"parentCID=ffffffff", b"parent" + mark)
    evil += f'parentFileNameHint="{parent}"\n'.encode()
    body[512 : 21 * 512] = evil.ljust(20 * 512, b"\0")
    body[28:44] = struct.pack("<QQ", len(body) // 512, 20)
    return bytes(body) + clean


def vmdk_footer(canary: Path) -> bytes:
    """The header for inspectors, the footer for qemu-img."""
    export = Export(SIZE)
    export.put(0, b"x" * 65536)
    body = bytearray(export.finish())
    body[-1024 + 12 : -1024 + 20] = struct.pack("<Q", 1 << 40)
    return bytes(body)


def _sparse(canary: Path) -> bytes:
    image = canary.with_name("sparse.vmdk")
    qemu_img("create", "-q", "-f", "vmdk", str(image), str(SIZE))
    return image.read_bytes()


def _patched(canary: Path, kind: str, place: int, content: bytes) -> bytes:
    image = canary.with_name(f"image.{kind}")
    qemu_img("create", "-q", "-f", kind, str(image), str(SIZE))
    body = bytearray(image.read_bytes())
    body[place : place + len(content)] = content
    return bytes(body)


def vdi_difference(canary: Path) -> bytes:
    return _patched(canary, "vdi", 0x4C, struct.pack("<I", 4))


def vhd_difference(canary: Path) -> bytes:
    return _patched(canary, "vpc", 60, struct.pack(">I", 4))


def vhdx_difference(canary: Path) -> bytes:
    body = bytearray(_patched(canary, "vhdx", 0, b""))
    parameters = bytes.fromhex("3767a1ca36fa434db3b633f0aa44e76b")
    table = body.index(b"metadata")
    item = body.index(parameters, table)
    place = table + int.from_bytes(body[item + 16 : item + 20], "little")
    body[place + 4] |= 2
    return bytes(body)


def qed_backing(canary: Path) -> bytes:
    return b"QED\0" + str(canary).encode().ljust(4096, b"\0")


def two_formats(canary: Path) -> bytes:
    body = bytearray(_qcow2(canary, "-u", "-F", "raw", "-b", str(canary)).ljust(64 << 10, b"\0"))
    body[0x8001:0x8006] = b"CD001"
    return bytes(body)


def huge_disk(canary: Path) -> bytes:
    image = canary.with_name("huge.qcow2")
    qemu_img("create", "-q", "-f", "qcow2", str(image), "32T")
    return image.read_bytes()


def huge_tables(canary: Path) -> bytes:
    body = bytearray(_qcow2(canary))
    body[36:40] = struct.pack(">I", (1 << 32) - 1)
    return bytes(body)


def bomb(_: Path) -> bytes:
    return gzip.compress(bytes(64 * MIB))


def bomb_in_a_bomb(_: Path) -> bytes:
    return gzip.compress(gzip.compress(bytes(64 * MIB)))


def bomb_of_a_sparse_tar(canary: Path) -> bytes:
    member, _ = entry("disk.img")
    member.size = 1 << 50
    return member.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


def tar_with_a_link_for_a_disk(canary: Path) -> bytes:
    return tar([link("disk.img", str(canary))])


def tar_with_a_hard_link_for_a_disk(canary: Path) -> bytes:
    return tar([link("disk.img", str(canary), tarfile.LNKTYPE)])


def tar_with_a_backing_file(canary: Path) -> bytes:
    return tar([entry("../../disk.qcow2", backing(canary))])


def packed_backing_file(canary: Path) -> bytes:
    return gzip.compress(backing(canary))


def error_page(_: Path) -> bytes:
    return b"<html><body>Sign in to continue</body></html>"


def luks(_: Path) -> bytes:
    return b"LUKS\xba\xbe\0\2" + bytes(8192)


FAMILIES: dict[str, tuple[Maker, ...]] = {
    "CVE-2015-5163, CVE-2014-0134: backing files": (
        backing, backing_as_json, backing_by_protocol, backing_of_an_old_image, packed_backing_file,
    ),
    "CVE-2024-32498: external data files": (data_file, data_file_without_its_bit),
    "CVE-2022-47951: vmdk extents and parents": (
        vmdk_flat_extent, vmdk_device_extent, vmdk_flat_extent_in_a_sparse_header, vmdk_without_capacity, vmdk_parent,
        vmdk_parent_where_only_qemu_looks,
    ),
    "CVE-2024-44082, CVE-2026-24708: another format than it seems": (two_formats, vmdk_footer, error_page),
    "differences to a parent": (vdi_difference, vhd_difference, vhdx_difference, qed_backing),
    "CVE-2013-2096, CVE-2013-4463, CVE-2013-4469: absurd sizes": (huge_disk, huge_tables),
    "CVE-2014-5356, CVE-2015-5286: bombs": (bomb, bomb_in_a_bomb, bomb_of_a_sparse_tar),
    "GHSA-2q3f-q5pq-g8wv, GHSA-vxp5-584q-c479: links and paths of archives": (
        tar_with_a_link_for_a_disk, tar_with_a_hard_link_for_a_disk, tar_with_a_backing_file,
    ),
    "encrypted": (luks,),
}  # fmt: skip
