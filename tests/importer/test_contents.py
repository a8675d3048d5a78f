"""What a job fills a volume with: the files of an archive, or a disk and the labels that come with it."""

from pathlib import Path

import pytest

from diskyard.api.job import ImportJob, TerminationMessage
from diskyard.disk.target import Target
from diskyard.errors import InvalidRequest
from importer.transfer import transfer
from tests.disk.tars import entry, tar
from tests.importer.conftest import Pod
from tests.importer.publisher import DISK, Publisher


def test_an_archive_becomes_the_files_of_the_volume(tmp_path: Path, pod: Pod) -> None:
    archive = tmp_path / "files.tar"
    archive.write_bytes(tar([entry("etc/motd", b"hello")]))

    ended = pod.run(ImportJob("file", str(archive), content_type="archive", image_size="1Gi"))

    assert (ended.code, ended.message.message) == (0, "Import Complete")
    assert [str(path.relative_to(pod.volume)) for path in pod.volume.rglob("*")] == ["etc", "etc/motd"]


def test_other_contents_are_unknown(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="kubevirt or archive, found disk"):
        transfer(ImportJob("file", "x", content_type="disk"), Target(tmp_path / "disk.img"))


def test_an_importers_pod_says_the_labels_of_a_container_image(pushed: Publisher, pod: Pod) -> None:
    url = pushed.push(
        tar([entry("disk/x", DISK)]), env=["INSTANCETYPE_KUBEVIRT_IO_DEFAULT_PREFERENCE=debian"]
    )

    ended = pod.run(ImportJob("registry", url, insecure_registries=(pushed.registry.host,)))

    assert ended.code == 0
    assert ended.message.labels == {"instancetype.kubevirt.io/default-preference": "debian"}
    assert pod.disk.read_bytes() == DISK


def test_a_message_keeps_its_labels() -> None:
    message = TerminationMessage("Import Complete", labels={"a/b": "c"})

    assert TerminationMessage.from_text(message.to_text()) == message
