"""`diskyard inspect`, and the options that say whose checksum counts."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.disk.images import MIB, converted, left_behind, raw

DISKYARD = Path(sys.executable).with_name("diskyard")


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DISKYARD, *map(str, words)], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def image(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    return converted(raw(folder / "disk.raw"), folder / "disk.qcow2", "qcow2", "-c")


def test_tells_people_what_an_image_is(image: Path) -> None:
    said = run("inspect", image)

    assert said.returncode == 0
    lines = [line.split(None, 1) for line in said.stdout.splitlines()]
    assert ["format", "qcow2"] in lines
    assert ["disk", f"24.0 MiB ({24 * MIB} bytes)"] in lines
    assert ["claim", "at least 26Mi: the disk, and 6 % for a file system"] in lines
    assert said.stdout.endswith("It can be imported.\n")


def test_tells_programs_the_same(image: Path) -> None:
    said = json.loads(run("inspect", image, "-o", "json").stdout)

    assert (said["importable"], said["format"], said["virtualSize"]) == (True, "qcow2", 24 * MIB)


@pytest.mark.parametrize(
    ("source", "options", "code", "words"),
    [
        ("{image}", ["--size", "8Mi"], 3, "larger than the reported available storage 8388608"),
        ("{image}.none", [], 3, "there is no file"),
        ("http://127.0.0.1:1/disk.img", [], 4, "127.0.0.1:1/disk.img: Connection refused"),
        ("http://[::1", [], 3, "Invalid source URL"),
        ("http://169.254.169.254/latest", [], 3, "a metadata service's"),
        ("http://x/", ["--endpoint-url", "http://y"], 2, "goes with s3://"),
        ("ftp://x/y", [], 2, "expected a source that begins with http://, https://"),
    ],
)
def test_the_exit_code_is_the_one_of_an_import(
    image: Path, source: str, options: list[str], code: int, words: str
) -> None:
    said = run("inspect", source.format(image=image), *options)

    assert said.returncode == code
    assert words in said.stdout + said.stderr


def test_an_import_takes_its_checksum_from_a_file(image: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    sums = tmp_path / "SHA256SUMS"
    sums.write_text(f"{digest}  other\n{digest} *disk.qcow2\n")

    good = run("import", image, tmp_path / "good.img", "--checksum-url", sums, "--json")
    sums.write_text(f"{'0' * 64} *disk.qcow2\n")
    bad = run("import", image, tmp_path / "bad.img", "--checksum-url", sums)

    assert json.loads(good.stdout)["digest"] == f"sha256:{digest}"
    assert bad.returncode == 3
    assert "expected sha256:000" in bad.stderr
    assert left_behind(tmp_path) == ["SHA256SUMS", "good.img", "images"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--checksum-url", "SUMS", "--checksum", "md5:" + "0" * 32], "found both"),
        (["--keyring", "keys"], "say where that is"),
        (["--checksum-url", "{image}", "--keyring", "keys"], "expected a file of checksums"),
        (["--checksum-url", "{image}", "--signature-url", "x"], "give a keyring"),
    ],
)
def test_options_that_make_no_sense_together_are_told(
    image: Path, tmp_path: Path, options: list[str], words: str
) -> None:
    said = run("import", image, tmp_path / "disk.img", *(option.format(image=image) for option in options))

    assert said.returncode == 3
    assert words in said.stderr
