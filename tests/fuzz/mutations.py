"""Real images with a few bytes wrong, as damage or malice would have it; `FUZZ=2000 pytest tests/fuzz` looks longer."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from diskyard.disk.probe import Format
from tests.disk.images import qemu_img

LONG = "FUZZ" in os.environ


def bounded(examples: int) -> settings:
    """So many examples, always the same ones; with FUZZ=N, N others."""
    return settings(
        max_examples=int(os.environ.get("FUZZ", examples)),
        derandomize=not LONG,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


HEAD = 1024
NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    9,
    0x1FF,
    0x200,
    1 << 16,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 40,
    1 << 62,
    1 << 63,
)


@st.composite
def _edit(draw: st.DrawFn) -> bytes:
    """Some bytes, or a number that programs trip over, in either order."""
    if draw(st.booleans()):
        return draw(st.binary(min_size=1, max_size=16))
    width = draw(st.sampled_from((2, 4, 8)))
    number = draw(st.sampled_from(NUMBERS)) % (1 << 8 * width)
    return number.to_bytes(width, draw(st.sampled_from(("big", "little"))))


@dataclass(frozen=True)
class Damage:
    """What has happened to an image. Small, for it is kept; the image is not."""

    puts: list[tuple[int, bytes]]
    cut: int | None
    moved: tuple[int, int] | None

    def done(self, body: bytes) -> bytes:
        """The image after it."""
        image = bytearray(body)
        for place, content in self.puts:
            image[place : place + len(content)] = content
        if self.moved:
            start, target = self.moved
            part = image[start : start + 4096]
            image[target : target + len(part)] = part
        return bytes(image[: self.cut])


def damage(length: int, hot: tuple[int, ...] = ()) -> st.SearchStrategy[Damage]:
    """One to four edits, often in the head or at a `hot` place; sometimes a cut, or a part that is there twice."""
    near = [st.integers(0, 63).map(lambda step, place=place: place + step) for place in hot]
    anywhere = st.integers(0, length - 1)
    puts = st.tuples(st.one_of(st.integers(0, HEAD), anywhere, *near), _edit())
    seldom = st.integers(0, 9).map(lambda number: number == 0)
    return st.builds(
        Damage,
        st.lists(puts, min_size=1, max_size=4),
        seldom.flatmap(lambda yes: anywhere if yes else st.none()),
        seldom.flatmap(lambda yes: st.tuples(anywhere, anywhere) if yes else st.none()),
    )


def oracle(image: bytes, kind: Format, folder: Path) -> bytes | None:
    """What qemu-img makes of it; None where it refuses."""
    if kind in (Format.RAW, Format.ISO):
        return image
    path, disk = folder / "image", folder / "oracle"
    path.write_bytes(image)
    try:
        qemu_img("convert", "-f", kind, "-O", "raw", str(path), str(disk))
    except subprocess.CalledProcessError:
        return None
    return disk.read_bytes()
