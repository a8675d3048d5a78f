"""`diskyard import` and `inspect` of disks in container images: from a real registry, and from an archive."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.cli.test_inspect import run
from tests.disk.images import converted, raw, same
from tests.disk.tars import entry, tar
from tests.importer import oci
from tests.importer.registries import registry


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw disk."""
    return raw(tmp_path_factory.mktemp("disk") / "disk.raw")


@pytest.mark.parametrize("kind", ["docker", "oci-archive"])
def test_a_disk_in_a_container_image_is_inspected_and_imported(disk: Path, tmp_path: Path, kind: str) -> None:
    layout = oci.Layout(tmp_path / "layout")
    body = converted(disk, tmp_path / "disk.qcow2", "qcow2", "-c").read_bytes()
    made = layout.write(layout.image([tar([entry("disk/disk.qcow2", body)])]))
    with registry(tmp_path / "registry", tmp_path / "store") as served:
        place = (
            f"docker://{served.host}/golden:v1"
            if kind == "docker"
            else f"oci-archive:{tmp_path / 'image.tar'}"
        )
        oci.copy(f"oci:{made}", place)

        found = run("inspect", place, "--insecure", "-o", "json")
        done = run("import", place, tmp_path / "out.img", "--insecure")

    assert found.returncode == 0, found.stderr
    said = json.loads(found.stdout)
    assert (said["importable"], said["format"], said["virtualSize"]) == (True, "qcow2", disk.stat().st_size)
    assert done.returncode == 0, done.stderr
    assert same(disk, tmp_path / "out.img")


def test_an_image_of_ones_own_is_made_as_the_documentation_says(disk: Path, tmp_path: Path) -> None:
    """C-11: a command that builds an image of a disk and pushes it."""
    text = (Path(__file__).parents[2] / "docs/import.md").read_text()
    lines = re.findall(r"### An image of your own\n.*?```\n(.*?)```", text, re.DOTALL)[0]
    converted(disk, tmp_path / "debian.qcow2", "qcow2", "-c")
    with registry(tmp_path / "registry", tmp_path / "store") as served:
        lines = lines.replace("registry.example:5000", served.host)
        lines = lines.replace("skopeo copy", "skopeo copy --dest-tls-verify=false")  # it speaks plain HTTP
        subprocess.run(["sh", "-ec", lines], cwd=tmp_path, check=True, capture_output=True)

        done = run("import", f"docker://{served.host}/golden/debian:12", tmp_path / "out.img", "--insecure")

    assert done.returncode == 0, done.stderr
    assert same(disk, tmp_path / "out.img")
