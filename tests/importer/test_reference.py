"""B-02: what an image's name means: short names as the field reads them, and the whole name in every error."""

from contextlib import closing
from dataclasses import replace

import pytest

from diskyard.api.job import ImportJob
from diskyard.disk.head import read
from diskyard.errors import InvalidRequest, SourceUnavailable
from importer import registry
from importer.registry.reference import reference
from tests.disk.tars import entry, tar
from tests.importer.publisher import DISK, Publisher

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("example/disk", "docker.io/example/disk:latest"),
        ("cirros", "docker.io/library/cirros:latest"),
        ("cirros:0.6", "docker.io/library/cirros:0.6"),
        ("docker.io/cirros", "docker.io/library/cirros:latest"),
        ("index.docker.io/example/disk:v1", "docker.io/example/disk:v1"),
        ("quay.example/example/disk", "quay.example/example/disk:latest"),
        ("localhost/disk", "localhost/disk:latest"),
        ("registry:5000/disk", "registry:5000/disk:latest"),
        ("[::1]:5000/a/b/c:v1", "[::1]:5000/a/b/c:v1"),
        (f"example/disk@{DIGEST}", f"docker.io/example/disk@{DIGEST}"),
        (f"example/disk:v1@{DIGEST}", f"docker.io/example/disk:v1@{DIGEST}"),
    ],
)
def test_a_name_means(written: str, meant: str) -> None:
    assert str(reference(f"docker://{written}")) == meant


@pytest.mark.parametrize(
    "written",
    [
        "",
        "example/Disk",
        "example/disk:" + "t" * 129,
        "example/disk@md5:00",
        "-/x",
        "../x",
    ],
)
def test_a_name_that_is_none_is_refused(written: str) -> None:
    with pytest.raises(InvalidRequest, match="with a name in lower case"):
        reference(f"docker://{written}")


def test_a_short_name_is_asked_of_the_mirror_of_docker_hub_first(pushed: Publisher) -> None:
    host = pushed.registry.host
    mirrored = replace(pushed, name=f"mirror/example/{pushed.name}")
    mirrored.push(tar([entry("disk/x", DISK)]))

    url, mirrors = f"docker://example/{pushed.name}:v1", (f"docker.io={host}/mirror",)
    job = ImportJob("registry", url, registry_mirrors=mirrors, insecure_registries=(host,))
    with closing(registry.opened(job)) as source:
        assert read(source, 0, len(DISK) + 1) == DISK


def test_without_a_way_to_the_registry_the_whole_name_is_told_and_how_to_name_a_mirror() -> None:
    job = ImportJob("registry", "docker://example/disk", https_proxy="http://127.0.0.1:1")

    with pytest.raises(SourceUnavailable) as error:
        registry.opened(job)

    for words in ("docker.io/example/disk:latest", "--mirror docker.io=HOST", "diskyard.io/registry-mirrors"):
        assert words in str(error.value)
