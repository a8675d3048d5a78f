"""Disks from container images: real registries, images pushed by skopeo, and blobs that are not what they say."""

import hashlib
import json
import subprocess
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from diskyard.api.job import ImportJob
from diskyard.errors import ChecksumMismatch, InvalidRequest, SourceMissing, UnsafeImage, UnsupportedImage
from importer import registry
from importer.registry import manifest
from tests.disk.images import converted, raw
from tests.disk.tars import entry, folder, link, tar
from tests.importer import oci
from tests.importer.publisher import DISK, Publisher, imported
from tests.importer.registries import wire


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw disk; beside it, the same as disk.qcow2."""
    path = raw(tmp_path_factory.mktemp("disk") / "disk.raw")
    converted(path, path.with_suffix(".qcow2"), "qcow2", "-c")
    return path


# What is read.


@pytest.mark.parametrize("pack", ["", "+gzip", "+zstd"])
@pytest.mark.parametrize("name", ["disk.raw", "disk.qcow2"])
def test_the_file_below_disk_becomes_the_disk(
    pushed: Publisher, disk: Path, volume: Path, pack: str, name: str
) -> None:
    """C-11: `FROM scratch` with one qcow2 or raw file in /disk."""
    layer = tar([folder("disk"), entry(f"disk/{name}", disk.with_name(name).read_bytes())])

    assert imported(volume, pushed.push(layer, pack=pack)) == disk.read_bytes()


@pytest.mark.parametrize("place", ["disk/x", "./disk/x", "/disk/x", "disk/deep/x"])
def test_the_path_below_disk_may_be_written_in_any_way(pushed: Publisher, volume: Path, place: str) -> None:
    assert imported(volume, pushed.push(tar([entry("disks/no", b"no"), entry(place, DISK)]))) == DISK


@pytest.mark.parametrize("layers", [
    [tar([entry("disk/other", b"no" * 512), entry("images/vm.img", DISK), entry("images/vm.img.old", b"no" * 512)])],
    [tar([entry("images/vm.img", b"old" * 512)]), tar([entry("images/vm.img", DISK)]), tar([entry("disk/x", b"no")])],
    [tar([entry("images/vm.img", DISK)]), tar([entry("images/.wh.other"), folder("images")])],
])  # fmt: skip
def test_a_path_that_is_asked_for_is_read_and_no_other(
    pushed: Publisher, volume: Path, layers: list[bytes]
) -> None:
    assert imported(volume, pushed.push(*layers), image_path="/images/vm.img") == DISK


@pytest.mark.parametrize("above", [
    entry("images/.wh.vm.img"), entry(".wh.images"), entry("images/.wh..wh..opq"), entry("images"),
    link("images", "/etc"),
])  # fmt: skip
def test_a_path_that_is_taken_away_is_not_there(
    pushed: Publisher, volume: Path, above: tuple[tarfile.TarInfo, bytes]
) -> None:
    url = pushed.push(tar([entry("disk/x", DISK), entry("images/vm.img", DISK)]), tar([above]))

    with pytest.raises(UnsupportedImage, match=r"expected the file /images/vm\.img, found none"):
        imported(volume, url, image_path="/images/vm.img")


def test_a_link_at_a_path_that_is_asked_for_is_refused(pushed: Publisher, volume: Path) -> None:
    url = pushed.push(tar([entry("etc/x", DISK), link("images/vm.img", "/etc/x")]))

    with pytest.raises(UnsupportedImage, match=r"symbolic link at images/vm\.img"):
        imported(volume, url, image_path="/images/vm.img")


def test_an_image_is_found_by_its_digest(pushed: Publisher, volume: Path) -> None:
    layout = oci.Layout(pushed.folder)
    image = layout.image([tar([entry("disk/x", DISK)])])
    url = pushed.publish(layout, image).removesuffix(":v1")

    assert imported(volume, f"{url}@{image['digest']}") == DISK


@pytest.mark.parametrize(("architecture", "found"), [("amd64", b"amd"), ("arm64", b"arm")])
def test_an_index_gives_the_image_of_the_architecture(
    pushed: Publisher, volume: Path, architecture: str, found: bytes
) -> None:
    layout = oci.Layout(pushed.folder)
    images = [
        layout.image([tar([entry("disk/x", name[:3].encode() * 4096)])], architecture=name)
        for name in ("amd64", "arm64")
    ]
    url = pushed.publish(layout, *images)

    assert imported(volume, url, architecture=architecture) == found * 4096

    with pytest.raises(SourceMissing, match="s390x: expected one of amd64, arm64"):
        imported(volume, url, architecture="s390x")


def test_dockers_own_manifests_are_read(pushed: Publisher, tmp_path: Path, volume: Path) -> None:
    layout = oci.Layout(pushed.folder)
    folder = layout.write(layout.image([tar([entry("disk/x", DISK)])]))
    command = [
        "skopeo",
        "copy",
        "-q",
        "--format",
        "v2s2",
        "--dest-tls-verify=false",
        f"oci:{folder}",
        pushed.url,
    ]
    subprocess.run(command, check=True)

    assert imported(volume, pushed.url) == DISK


@pytest.mark.parametrize("scheme", ["oci-archive:", "oci-archive://"])
def test_an_archive_of_a_layout_is_read_where_it_lies(
    disk: Path, tmp_path: Path, volume: Path, scheme: str
) -> None:
    layout = oci.Layout(tmp_path / "layout")
    made = layout.write(layout.image([tar([entry("disk/x", disk.with_suffix(".qcow2").read_bytes())])]))
    archive = tmp_path / "image.tar"
    oci.copy(f"oci:{made}", f"oci-archive:{archive}:stable")

    assert imported(volume, f"{scheme}{archive}") == disk.read_bytes()


# Which file it is.


def test_upper_layers_win(pushed: Publisher, volume: Path) -> None:
    layers = [tar([entry("disk/x", b"old" * 512)]), tar([entry("disk/x", DISK)]), tar([entry("etc/motd")])]

    assert imported(volume, pushed.push(*layers)) == DISK


@pytest.mark.parametrize("gone", ["disk/.wh.old", "disk/.wh..wh..opq", ".wh.disk", ".wh..wh..opq"])
def test_what_a_whiteout_takes_away_is_not_there(pushed: Publisher, volume: Path, gone: str) -> None:
    url = pushed.push(tar([entry("disk/old", DISK)]), tar([entry(gone)]))

    with pytest.raises(UnsupportedImage, match="has no disk"):
        imported(volume, url)


def test_whiteouts_without_an_end_are_refused(pushed: Publisher, volume: Path) -> None:
    whiteouts = tar([entry(f"disk/.wh.{number}") for number in range(4100)])

    with pytest.raises(UnsafeImage, match="takes away more than 4096 files"):
        imported(volume, pushed.push(tar([entry("disk/x", DISK)]), whiteouts))


def test_a_whiteout_leaves_other_files(pushed: Publisher, volume: Path) -> None:
    lower = tar([entry("disk/old", b"old" * 512), entry("disk/kept", DISK)])

    assert imported(volume, pushed.push(lower, tar([entry("disk/.wh.old")]))) == DISK


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([entry("disk/a", b"1" * 4096), entry("disk/b", b"2")], "disk/a and disk/b"),
        ([folder("disk"), entry("etc/motd", b"hello")], "has no disk.*FROM scratch"),
        ([link("disk/x", "/etc/shadow")], "symbolic link at disk/x"),
        ([entry("a", b"x"), link("disk/x", "a", tarfile.LNKTYPE)], "hard link at disk/x"),
    ],
)
def test_an_image_without_exactly_one_disk_is_refused(
    pushed: Publisher, volume: Path, members: list[tuple[tarfile.TarInfo, bytes]], words: str
) -> None:
    with pytest.raises(UnsupportedImage, match=words):
        imported(volume, pushed.push(tar(members)))

    assert not list(volume.iterdir())


@pytest.mark.parametrize("label", ["containers.bootc", "ostree.bootable"])
def test_a_bootable_container_is_refused(pushed: Publisher, volume: Path, label: str) -> None:
    url = pushed.push(tar([entry("disk/x", DISK)]), labels={label: "1"})

    with pytest.raises(UnsupportedImage, match="bootc"):
        imported(volume, url)


def test_the_image_is_for_the_architecture_that_was_asked_for(pushed: Publisher, volume: Path) -> None:
    url = pushed.push(tar([entry("disk/x", DISK)]))

    with pytest.raises(InvalidRequest, match='"amd64" doesn\'t match requested architecture: "arm64"'):
        imported(volume, url, architecture="arm64")


def test_labels_come_from_the_environment_of_the_image(pushed: Publisher) -> None:
    env = ["PATH=/bin", "INSTANCETYPE_KUBEVIRT_IO_DEFAULT_INSTANCETYPE=u1.small", "KUBEVIRT_IO_X=y"]
    url = pushed.push(tar([entry("disk/x", DISK)]), env=env)

    with closing(registry.opened(ImportJob("registry", url, insecure_tls=True))) as source:
        assert source.said.labels == {
            "instancetype.kubevirt.io/default-instancetype": "u1.small",
            "kubevirt.io/x": "y",
        }


# What is not believed.


def flipped(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


def longer(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def shorter(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [flipped, longer, shorter])
def test_a_layer_that_is_not_what_its_digest_says_never_becomes_a_disk(
    pushed: Publisher, volume: Path, damage: Callable[[Path], None]
) -> None:
    layout = oci.Layout(pushed.folder)
    layer = tar([entry("disk/x", oci.noise(5 << 20))])
    url = pushed.publish(layout, layout.image([layer], ""))
    damage(pushed.registry.blob(f"sha256:{hashlib.sha256(layer).hexdigest()}"))

    with pytest.raises(ChecksumMismatch, match="checksum validation failed"):
        imported(volume, url)

    assert not list(volume.iterdir())


def test_damage_behind_the_disk_counts_as_well(pushed: Publisher, volume: Path) -> None:
    layout = oci.Layout(pushed.folder)
    layer = tar([entry("disk/x", DISK), entry("etc/more", oci.noise(9 << 20))])
    url = pushed.publish(layout, layout.image([layer], ""))
    flipped(pushed.registry.blob(f"sha256:{hashlib.sha256(layer).hexdigest()}"))

    with pytest.raises(ChecksumMismatch, match="in a blob of"):
        imported(volume, url)


def test_a_wrong_configuration_or_manifest_is_found_out(pushed: Publisher, volume: Path) -> None:
    layout = oci.Layout(pushed.folder)
    image = layout.image([tar([entry("disk/x", DISK)])], env=["ONLY=HERE"])
    url = pushed.publish(layout, image)
    said = json.loads((pushed.folder / "blobs/sha256" / image["digest"][7:]).read_bytes())
    flipped(pushed.registry.blob(said["config"]["digest"]))

    with pytest.raises(ChecksumMismatch):
        imported(volume, url)


@pytest.mark.parametrize(
    "digest", ["sha256:../../../../etc/shadow", "md5:" + "0" * 32, "sha256:" + "A" * 64, "", 7]
)
def test_a_digest_that_is_none_leads_nowhere(digest: object) -> None:
    """CVE-2024-3727: whoever makes the manifest chooses the digests in it."""
    sound = {"digest": "sha256:" + "0" * 64, "size": 1}
    said = {"schemaVersion": 2, "config": sound, "layers": [sound, sound | {"digest": digest}]}

    with pytest.raises(UnsupportedImage):
        manifest.parsed(json.dumps(said).encode(), "example/disk")


def test_a_dropped_link_costs_what_was_on_its_way(pushed: Publisher, volume: Path) -> None:
    body = oci.noise(24 << 20)
    url = pushed.push(tar([entry("disk/x", body)]))
    cuts = (1 << 20, 9 << 20)

    with wire(pushed.registry.host, *cuts) as there:
        assert imported(volume, url.replace(pushed.registry.host, there.host)) == body
        assert there.passed < (24 << 20) + (13 << 20)
