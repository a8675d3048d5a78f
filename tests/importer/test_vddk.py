"""vddk without VMware's library: nbdkit's file plugin in the vddk plugin's place, and a small vCenter."""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diskyard.api.job import ImportJob, Vddk
from diskyard.errors import AccessDenied, InvalidRequest, SourceMissing, SourceUnavailable
from importer import vddk, vsphere
from importer.request import Access
from importer.vddk import VddkImage, served
from importer.vsphere import Place
from tests.disk.image_suite import ImageSuite, read
from tests.disk.images import raw, same
from tests.imageserver import ImageServer
from tests.importer.conftest import Ended, Pod
from tests.importer.vcenter import (
    BIOS,
    CHANGE,
    DISK,
    FIRST,
    INSTANCE,
    MACHINE,
    PASSWORD,
    SECOND,
    SNAPSHOT,
    USER,
    VCenter,
    vcenter,
)

ACCESS = Access(user=USER, password=PASSWORD)
NBDKIT = '''#!{python}
"""nbdkit whose vddk plugin is its file plugin: checks what it is asked, says what VMware's library says."""
import os, sys
given = dict(word.split("=", 1) for word in sys.argv if "=" in word and not word.startswith("-"))
expected = {expected!r}
found = {{name: given.get(name) for name in expected}}
secret = os.read(int(given["password"].lstrip("-")), 4096)
if found != expected or secret != {password!r} or any("SECRET" in name for name in os.environ):
    sys.exit(f"nbdkit: error: asked for {{found}} with {{len(secret)}} bytes of password")
os.dup2(os.open(os.devnull, os.O_RDONLY), int(given["password"].lstrip("-")))
sys.stderr.write("nbdkit: debug: VMware VixDiskLib (8.0.3) Release build-23950268\\n")
sys.stderr.write(
    "nbdkit: vddk[1]: debug: DISKLIB-LINK  : Opened 'vpxa-nfcssl://[store1] guest/guest.vmdk@esx7.example:902' "
    "(0xa): custom, 50331648 sectors / 24 GB.\\n"
)
sys.stderr.flush()
os.execv("/usr/bin/nbdkit", ["nbdkit", *sys.argv[1 : sys.argv.index("--verbose")], "file", {disk!r}])
'''


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return raw(tmp_path_factory.mktemp("vddk") / "disk.raw")


@pytest.fixture(scope="module")
def server() -> Iterator[VCenter]:
    with vcenter() as running:
        yield running


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A folder that looks as VMware's does."""
    folder = tmp_path / "vmware-vix-disklib-distrib"
    (folder / "lib64").mkdir(parents=True)
    (folder / "lib64/libvixDiskLib.so.8").touch()
    return folder


@pytest.fixture
def job(server: VCenter, library: Path) -> ImportJob:
    return ImportJob(
        "vddk", server.url, uuid=INSTANCE, backing_file=DISK, thumbprint=server.thumbprint, access_key=USER,
        secret_key=PASSWORD, vddk_dir=str(library),
    )  # fmt: skip


class TestServed(ImageSuite):
    @pytest.fixture
    def image(self, disk: Path) -> Iterator[VddkImage]:
        with served(("--filter=cacheextents", "--filter=retry", "file", str(disk))) as image:
            yield image


def test_the_password_reaches_nbdkit_through_a_pipe(images: ImageServer) -> None:
    plugin = ("curl", f"url={images.url('private/disk.raw')}", "user=ann")

    with served(plugin, "secret") as image:
        assert read(image, 0, 4096) == (images.root / "disk.raw").read_bytes()[:4096]


def test_what_nbdkit_says_last_is_part_of_the_error() -> None:
    with pytest.raises(SourceUnavailable, match="size"), served(("memory", "size=nonsense")):
        pass


def test_a_disk_that_fails_is_told_with_what_nbdkit_said() -> None:
    plugin = ("eval", "get_size=echo 1M", "pread=echo EIO the array is on fire >&2; exit 1")
    with pytest.raises(SourceUnavailable, match="the array is on fire"), served(plugin) as image:
        read(image, 0, 512)


def test_a_plugin_that_is_not_installed_is_named() -> None:
    with (
        pytest.raises(InvalidRequest, match=r"nbdkit has no such plugin.*nbdkit-vddk-plugin"),
        served(("vddk",)),
    ):
        pass


def test_nbdkit_ends_when_its_disk_is_closed(disk: Path) -> None:
    pidfile = disk.parent / "pid"

    with served(("--pidfile", str(pidfile), "file", str(disk))):
        process = Path("/proc", pidfile.read_text().strip())
        assert process.exists()

    assert not process.exists()


def test_the_arguments_say_where_the_disk_is_and_no_password(job: ImportJob) -> None:
    job = replace(job, endpoint="https://vcenter.example/sdk", vddk_dir="/opt/vddk", thumbprint="AA:BB")

    said = vddk.arguments(job, Place("vm-7", "[store1] guest/guest.vmdk"))

    assert said[said.index("vddk") :] == (
        "vddk", "libdir=/opt/vddk", "server=vcenter.example", f"user={USER}", "thumbprint=AA:BB", "vm=moref=vm-7",
        "file=[store1] guest/guest.vmdk", "transports=file:nbdssl:nbd",
    )  # fmt: skip
    assert not [word for word in said if PASSWORD in word]


REFUSED = {
    "no machine": ({"uuid": ""}, "a vddk source needs uuid"),
    "no disk and no thumbprint": ({"backing_file": "", "thumbprint": ""}, "needs backingFile, thumbprint"),
    "a metadata service": ({"endpoint": "https://169.254.169.254/sdk"}, "a metadata service's"),
    "a password of two lines": ({"secret_key": "a\nb"}, "line break"),
    "no library": ({"vddk_dir": "/nonexistent"}, "VMware's library at /nonexistent/lib64.*initImageURL"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "says"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_done_is_refused_before_anyone_is_asked(
    job: ImportJob, server: VCenter, change: dict[str, Any], says: str
) -> None:
    server.calls.clear()

    with pytest.raises(InvalidRequest, match=says), vddk.opened(replace(job, **change), ACCESS):
        pass

    assert not server.calls


@pytest.mark.parametrize("uuid", [INSTANCE, BIOS], ids=["instance UUID", "BIOS UUID"])
def test_a_machine_is_found_by_either_uuid(job: ImportJob, server: VCenter, uuid: str) -> None:
    server.calls.clear()

    assert vsphere.place(replace(job, uuid=uuid), ACCESS) == Place(MACHINE, SNAPSHOT)
    assert server.calls[-1] == "Logout"


def test_a_machine_that_is_not_there_is_missing(job: ImportJob) -> None:
    with pytest.raises(SourceMissing, match="no machine with UUID 42"):
        vsphere.place(replace(job, uuid="42"), ACCESS)


def test_a_disk_that_is_not_there_is_missing_and_the_others_are_named(job: ImportJob) -> None:
    with pytest.raises(SourceMissing, match=r"guest-000001\.vmdk"):
        vsphere.place(replace(job, backing_file="[store1] other/other.vmdk"), ACCESS)


def test_a_wrong_password_is_denied(job: ImportJob) -> None:
    with pytest.raises(AccessDenied, match=r"incorrect user name or password.*secretRef"):
        vsphere.place(job, replace(ACCESS, password="guess"))


def test_another_certificate_gets_no_password(job: ImportJob, server: VCenter) -> None:
    server.calls.clear()

    with pytest.raises(InvalidRequest, match=f"thumbprint AA:BB, found {server.thumbprint}"):
        vsphere.place(replace(job, thumbprint="AA:BB"), ACCESS)

    assert not server.calls


def test_something_that_is_no_vsphere_is_told(job: ImportJob, images: ImageServer) -> None:
    with pytest.raises(InvalidRequest, match=r"correct|Correct|does not take"):
        vsphere.place(replace(job, endpoint=images.url("disk.raw")), ACCESS)


def run(pod: Pod, job: ImportJob, disk: Path, **expected: str) -> Ended:
    """The whole importer: its environment, vCenter, nbdkit, the disk, the termination message."""
    wrapper = pod.folder / "bin/nbdkit"
    wrapper.parent.mkdir(exist_ok=True)
    always = {"libdir": job.vddk_dir, "vm": f"moref={MACHINE}", "user": USER, "server": "127.0.0.1"}
    wrapper.write_text(
        NBDKIT.format(
            python=sys.executable, expected=always | expected, password=PASSWORD.encode(), disk=str(disk)
        )
    )
    wrapper.chmod(0o755)
    return pod.run(job, PATH=f"{wrapper.parent}:/usr/bin:/bin")


def test_a_machine_s_disk_becomes_a_disk(job: ImportJob, disk: Path, pod: Pod) -> None:
    ended = run(pod, job, disk, file=SNAPSHOT)

    assert (ended.code, ended.message.message) == (0, "Import Complete"), ended.log
    assert ended.message.vddk == Vddk("8.0.3", "esx7.example")
    assert same(disk, pod.disk)


MIB = 1 << 20
CHANGED = [(2 * MIB, 3 * MIB), (9 * MIB, 4096), (20 * MIB, 2 * MIB)]


@pytest.fixture
def later(disk: Path, server: VCenter, tmp_path: Path) -> Path:
    """The disk at the second snapshot: data where nothing was, zeros where data was, and more at an edge."""
    body = bytearray(disk.read_bytes())
    server.size, server.changed = len(body), CHANGED
    for start, length in CHANGED:
        body[start : start + length] = os.urandom(length // 2) + bytes(length - length // 2)
    changed = tmp_path / "later.raw"
    changed.write_bytes(body)
    return changed


@pytest.mark.parametrize("previous", [FIRST, "one", f"{CHANGE}1"], ids=["reference", "name", "change ID"])
def test_stages_become_the_disk_of_the_last_one(
    job: ImportJob, disk: Path, later: Path, pod: Pod, previous: str
) -> None:
    whole = run(pod, replace(job, checkpoint=FIRST), disk, file=DISK, snapshot=FIRST)
    stage = replace(job, checkpoint="two", previous=previous, final=True)
    changes = run(pod, stage, later, file=SNAPSHOT, snapshot=SECOND)

    assert (whole.code, changes.code) == (0, 0), changes.log
    assert same(later, pod.disk)
    assert 0 < changes.message.bytes_fetched <= sum(length for _, length in CHANGED)


def test_changes_of_a_disk_that_is_not_there_are_refused(job: ImportJob, later: Path, pod: Pod) -> None:
    stage = replace(job, checkpoint=SECOND, previous=FIRST)

    ended = run(pod, stage, later, file=SNAPSHOT, snapshot=SECOND)

    assert (ended.code, ended.message.fatal) == (3, True)
    assert "expected the disk of the stage before" in ended.message.message


def test_half_of_some_changes_are_not_followed_by_others(
    job: ImportJob, disk: Path, later: Path, pod: Pod
) -> None:
    run(pod, replace(job, checkpoint=FIRST), disk, file=DISK, snapshot=FIRST)
    stage = replace(job, checkpoint=SECOND, previous=FIRST)
    short = later.with_name("short.raw")
    short.write_bytes(later.read_bytes()[: 9 * MIB])

    broken = run(pod, stage, short, file=SNAPSHOT, snapshot=SECOND)
    other = run(pod, replace(stage, checkpoint="two"), later, file=SNAPSHOT, snapshot=SECOND)
    again = run(pod, stage, later, file=SNAPSHOT, snapshot=SECOND)

    assert (broken.code, broken.message.fatal) == (4, False), broken.log
    assert other.message.fatal
    assert "has taken a part of other changes" in other.message.message
    assert again.code == 0, again.log
    assert same(later, pod.disk)


def test_a_snapshot_that_is_not_there_is_missing(job: ImportJob) -> None:
    with pytest.raises(SourceMissing, match=r"no snapshot 'third'.*spec.checkpoints"):
        vsphere.place(replace(job, checkpoint="third"), ACCESS)


def test_changes_that_cannot_be_are_found_out(job: ImportJob, later: Path, server: VCenter) -> None:
    server.changed = [(23 * MIB, 2 * MIB)]

    with pytest.raises(SourceUnavailable, match="changes from 0 on that cannot be"):
        vsphere.place(replace(job, checkpoint=SECOND, previous=FIRST), ACCESS)
