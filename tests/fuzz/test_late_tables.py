"""qcow2 whose tables come behind what they map, from a source that passes once: the disk that qemu-img gives of it."""

import base64
import os
import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskyard.disk.aside import Aside
from diskyard.disk.ingest import ingest
from diskyard.disk.probe import Format
from diskyard.disk.qcow2 import CHUNK, Qcow2Decoder
from diskyard.disk.qcow2_format import header
from diskyard.disk.target import Target
from diskyard.errors import Passing, Refused, SourceUnavailable
from tests.disk.images import MIB, converted, late, left_behind, qemu_img
from tests.disk.sources import Bytes, breaking
from tests.fuzz.mutations import Damage, bounded, damage, oracle

SIZE = 24 * MIB
"""Some 13 MiB of it are data: more than a decoder keeps in memory of what has passed."""
WRITTEN = {
    "small clusters": "cluster_size=4k",
    "parts of clusters": "extended_l2=on,cluster_size=16k",
    "an old one": "compat=0.10,cluster_size=8k",
}
PACKED = {"zlib": "cluster_size=4k", "zstd": "compression_type=zstd,cluster_size=8k"}
TABLES = st.lists(st.integers(0, 11), min_size=1, max_size=12, unique=True)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, bytes]]:
    """Images, each with the disk that qemu-img makes of it: written by a guest in no order, or packed."""
    folder = tmp_path_factory.mktemp("images")
    words = folder / "words"
    words.write_bytes(base64.b64encode(os.urandom(12 * MIB)).ljust(SIZE, b"\0"))
    for name, options in WRITTEN.items():
        qemu_img("create", "-q", "-f", "qcow2", "-o", options, str(folder / name), str(SIZE))
        subprocess.run(
            ["qemu-io", "-f", "qcow2", *_writes(name), folder / name], check=True, capture_output=True
        )
    for name, options in PACKED.items():
        converted(words, folder / name, "qcow2", "-c", "-o", options)
    found = {name: (folder / name).read_bytes() for name in (*WRITTEN, *PACKED)}
    return {name: (body, oracle(body, Format.QCOW2, folder) or b"") for name, body in found.items()}


def _writes(seed: str) -> list[str]:
    chance = random.Random(seed)
    found = []
    for number in range(130):
        start, length = chance.randrange(SIZE - 300_000) // 512 * 512, chance.randrange(1, 512) * 512
        kind = chance.choice([f"write -q -P {1 + number % 250}"] * 5 + ["write -q -z", "discard -q"])
        found += ["-c", f"{kind} {start} {length}"]
    return found


@pytest.mark.parametrize("name", [*WRITTEN, *PACKED])
def test_late_tables_in_any_order_of(
    images: dict[str, tuple[bytes, bytes]], tmp_path: Path, name: str
) -> None:
    body, expected = images[name]
    target = Target(tmp_path / "volume" / "disk.img")
    target.folder.mkdir()

    @bounded(6)
    @given(tables=TABLES, broken=st.integers(0, len(body)))
    def are_waited_for_and_leave_nothing(tables: list[int], broken: int) -> None:
        image = late(body, tables)
        with pytest.raises(SourceUnavailable):
            ingest(_once(image, broken), target)
        assert left_behind(target.folder) == []
        source = _once(image)
        ingest(source, target)
        right = target.path.read_bytes() == expected
        assert right, tables
        assert source.read == len(image), "it passes once"
        assert left_behind(target.folder) == ["disk.img"]
        target.path.unlink()

    are_waited_for_and_leave_nothing()


def _once(image: bytes, broken: int | None = None) -> Bytes:
    """A source that only goes forward, without a name for its version; breaks off at a byte."""
    if broken is None:
        return Bytes(image, None, ranged=False, sized=False)
    return Bytes(image, None, ranged=False, sized=False, before=breaking(broken, SourceUnavailable("gone")))


@pytest.mark.parametrize("name", ["small clusters", "parts of clusters", "zlib"])
def test_damaged_late_tables_of(images: dict[str, tuple[bytes, bytes]], tmp_path: Path, name: str) -> None:
    image = late(images[name][0], range(12))
    volume = tmp_path / "volume"
    volume.mkdir()

    @bounded(10)
    @given(done=damage(len(image), (len(image) - 4096, len(image) - 20_000, len(image) - 40_000)))
    def give_what_qemu_img_gives_or_are_refused(done: Damage) -> None:
        harmed = done.done(image)
        try:
            result = ingest(_once(harmed), Target(volume / "disk.img", room=2 * SIZE))
        except (Refused, Passing):
            assert left_behind(volume) == []
            return
        expected = oracle(harmed, result.format, tmp_path)
        right = expected in (None, (volume / "disk.img").read_bytes())
        assert right
        (volume / "disk.img").unlink()

    give_what_qemu_img_gives_or_are_refused()


def test_these_images_do_go_aside(images: dict[str, tuple[bytes, bytes]], tmp_path: Path) -> None:
    """Or the tests above would show nothing."""
    image = late(images["small clusters"][0], range(12))
    head, aside = header(image), Aside(tmp_path)
    decoder = Qcow2Decoder(head, image[head.l1_offset :][: 8 * head.l1_entries], None, aside)
    for start in range(0, len(image), CHUNK):
        list(decoder.feed(start, memoryview(image)[start : start + CHUNK]))
    taken = aside.taken
    aside.close()

    assert taken >= 2 * MIB
