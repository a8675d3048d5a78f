"""The real virtctl, of 2020 and of today, uploads into a yard and into a real cluster."""

import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from kubernetes import client

from tests.builders import eventually
from tests.cluster.programs import virtctl
from tests.flows.place import CDI, Place
from tests.flows.test_upload import holds

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("uploads")]
MIB = 1 << 20
RELEASES = ("v0.36", "v1.6")
PLACES = ("yard", "uploading")


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    """Each place in turn."""
    found: Place = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def url(place: Place) -> str:
    """Where the proxy is, as walk-throughs have found it: by hand."""
    api = client.CustomObjectsApi(place.api())
    return str(api.get_cluster_custom_object(*CDI, "cdiconfigs", "config")["status"]["uploadProxyURL"])


@pytest.fixture(scope="session")
def iso(folder: Path) -> Path:
    file = folder / "Win10x64_2020.iso"
    file.write_bytes(os.urandom(10 * MIB))
    return file


def ran(place: Place, release: str, *words: str) -> str:
    """What it says, and behind that its exit code."""
    env = {**os.environ, "KUBECONFIG": str(place.kubeconfig)}
    done = subprocess.run(
        [virtctl(release), "image-upload", *words], env=env, capture_output=True, text=True, timeout=300, check=False
    )  # fmt: skip
    return f"{done.stdout}{done.stderr}exit {done.returncode}"


@pytest.mark.parametrize("release", RELEASES)
def test_the_walk_throughs_command(place: Place, url: str, iso: Path, release: str) -> None:
    name = f"walk-{release.replace('.', '-')}"

    said = ran(
        place, release, f"--image-path={iso}", "--storage-class", "local", f"--pvc-name={name}", "--pvc-size=64M",
        f"--uploadproxy-url={url}", "--insecure", "--wait-secs=240",
    )  # fmt: skip

    assert said.endswith("exit 0"), said
    assert "Processing completed successfully" in said
    assert holds(place, name, iso)


@pytest.mark.parametrize("release", RELEASES)
def test_a_data_volume(place: Place, url: str, iso: Path, release: str) -> None:
    name = f"volume-{release.replace('.', '-')}"

    said = ran(
        place, release, "dv", name, "--size=64Mi", f"--image-path={iso}", f"--uploadproxy-url={url}", "--insecure"
    )  # fmt: skip

    assert said.endswith("exit 0"), said
    assert place.wait("datavolumes", name, "Succeeded", 60)
    assert holds(place, name, iso)


def test_an_archive_is_unpacked_and_the_proxy_found(place: Place, folder: Path, iso: Path) -> None:
    packed = folder / "files.tar"
    with tarfile.open(packed, "w") as tar:
        tar.add(iso, "inside.iso")

    said = ran(place, "v1.6", "dv", "packed", "--size=64Mi", f"--archive-path={packed}", "--insecure")

    assert said.endswith("exit 0"), said
    assert (place.volume("packed") / "inside.iso").read_bytes() == iso.read_bytes()


def test_a_claim_that_is_there_is_uploaded_into(place: Place, iso: Path) -> None:
    place.core().create_namespaced_persistent_volume_claim(
        "default",
        {
            "metadata": {"name": "there"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}},
        },
    )

    core = place.core()
    # virtctl reads, changes and replaces the claim, once: who binds it must have written before
    eventually(
        lambda: core.read_namespaced_persistent_volume_claim("there", "default").status.phase == "Bound", 60
    )

    said = ran(place, "v1.6", "pvc", "there", "--no-create", f"--image-path={iso}", "--insecure")

    assert said.endswith("exit 0"), said
    assert holds(place, "there", iso)
    again = ran(place, "v1.6", "pvc", "there", "--no-create", f"--image-path={iso}", "--insecure")
    assert "already successfully imported/cloned/updated" in again


def test_what_cannot_fit_is_said_by_the_server(place: Place, folder: Path) -> None:
    large = folder / "large.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", large, "40G"], check=True)

    said = ran(
        place, "v1.6", "dv", "cramped", "--size=64Mi", f"--image-path={large}", "--insecure", "--retry=1"
    )

    assert "unexpected return value 400" in said
    assert "is larger than the reported available storage" in said
    place.until("datavolumes", "cramped", lambda dv: "larger" in str(dv["status"].get("conditions")), 60)
