"""One file of an archive as a Source, and the one disk of a tar: an OVA, or what a cloud exports."""

from collections.abc import Callable, Iterator
from typing import Final

from diskyard.disk.archive import Archive, Kind, Member
from diskyard.disk.source import Source, check_forward
from diskyard.errors import UnsupportedImage

_DISKS: Final = (".qcow2", ".img", ".raw", ".vmdk", ".vdi", ".vhd", ".vhdx", ".iso")
_PACKED: Final = (".gz", ".xz", ".zst", ".bz2")
_SHOWN: Final = 5
"""Names in a message."""


class Body:
    """The bytes of an archive's current member; `finish` runs before the last of them is given."""

    validator: str | None = None
    ranged = False

    def __init__(self, archive: Archive, member: Member, finish: Callable[[], None]) -> None:
        self.size: int | None = member.size
        self._archive = archive
        self._left = member.size
        self._finish: Callable[[], None] | None = finish
        self._position = 0

    def readinto(self, buf: memoryview, offset: int) -> int | None:
        """What `finish` raises means that the bytes are not to be believed: none ends well."""
        check_forward(self._position, offset)
        count = self._archive.readinto(buf)
        self._position += count or 0
        if self._finish and self._position == self.size:
            self._finish()
            self._finish = None
        return count

    def close(self) -> None:
        """The archive's source stays open: it belongs to whoever opened it."""


def disk_of(source: Source) -> Body:
    """The one disk image of a tar archive. Raises UnsupportedImage where there is none.

    Images are known by their names. What follows the image is read before the image ends: another one is refused.
    """
    archive = Archive(source)
    passed: list[str] = []
    disks = _disks(archive, passed)
    disk = next(disks, None)
    if disk is None:
        raise UnsupportedImage(
            f"the tar archive has no disk image: expected one file whose name ends in {', '.join(_DISKS)}, found "
            f"{_list(passed)}. Pack it with its disk, or import it with contentType archive"
        )

    def finish() -> None:
        others = [disk.name, *(other.name for other in disks)]
        if len(others) > 1:
            raise UnsupportedImage(
                f"the tar archive has {len(others)} disk images ({_list(others)}): expected one. Unpack it, and import "
                "each of them"
            )
        archive.finish()

    return Body(archive, disk, finish)


def _disks(archive: Archive, passed: list[str]) -> Iterator[Member]:
    for member in archive:
        name = member.parts[-1].lower() if member.parts else ""
        stem = next((name.removesuffix(end) for end in _PACKED if name.endswith(end)), name)
        if member.kind is Kind.FOLDER or name.startswith("._") or not stem.endswith(_DISKS):
            passed.append(member.name)
            del passed[_SHOWN + 1 :]
            continue
        if member.kind is not Kind.FILE:
            raise UnsupportedImage(
                f"the tar archive has {member.name} as a {member.kind}: expected a plain file. Pack it again without "
                "links and without --sparse"
            )
        yield member


def _list(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (" and more" if len(names) > _SHOWN else "") or "nothing"
