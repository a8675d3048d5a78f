"""What an image is once its wrappings are off: compression, and a tar archive with one disk in it."""

from dataclasses import replace
from typing import Final

from diskyard.disk.digest import Digest
from diskyard.disk.head import Headed
from diskyard.disk.member import disk_of
from diskyard.disk.preflight import Preflight, preflight
from diskyard.disk.probe import COMPRESSIONS, WRAPPINGS, Format
from diskyard.disk.tap import Tap
from diskyard.disk.unpack import Unpacked
from diskyard.errors import UnsupportedImage

_DEEPEST: Final = 3
"""A packed image in a packed tar."""


def unwrapped(headed: Headed, digest: Digest | None, room: int | None) -> tuple[Preflight, Headed]:
    """The image inside a source, and its bytes: the source itself where it has no wrapping.

    Where it has one, the digest takes the source's bytes as they pass. Raises what `preflight` raises.
    """
    plan, body, before = preflight(headed, room), headed, Format.RAW
    packed: tuple[Format, ...] = ()
    for _ in range(_DEEPEST):
        if plan.format not in WRAPPINGS:
            break
        if {plan.format, before} <= COMPRESSIONS:
            raise UnsupportedImage(
                f"the source is compressed twice (there is {plan.format} inside): unpack it once before you offer it"
            )
        outer = Tap(headed, digest) if digest and body is headed else body
        before = plan.format
        packed = (*packed, before)
        body = Headed(disk_of(outer) if before is Format.TAR else Unpacked(outer, before))
        plan = preflight(body, room)
    if plan.format in WRAPPINGS:
        raise UnsupportedImage(
            f"the source is packed too often (there is {plan.format} inside): unpack it first"
        )
    return replace(plan, packed=packed), body
