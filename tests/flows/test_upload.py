"""Uploads as their users make them: the command line and CDI's requests, into the session's yard."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from kubernetes import client

from tests.builders import eventually, within
from tests.flows.place import Place
from tests.flows.yard import Yard, data_volume, running
from tests.handshake import TLS_1_2, cipher
from tests.uploadproxy.images import broken_vhdx

MIB = 1 << 20
UPLOADS = "upload.cdi.kubevirt.io"


@pytest.fixture(scope="session")
def image(folder: Path) -> Path:
    """Ten MiB that no two places of share."""
    file = folder / "upload.img"
    file.write_bytes(os.urandom(10 * MIB))
    return file


def uploaded(yard: Place, *options: str) -> "subprocess.CompletedProcess[str]":
    """`diskyard image-upload`, ended."""
    env = {**os.environ, "KUBECONFIG": str(yard.kubeconfig)}
    return subprocess.run(
        [sys.executable, "-m", "cli", "image-upload", *options],
        env=env, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def holds(yard: Place, claim: str, image: Path) -> bool:
    disk = yard.volume(claim) / "disk.img"
    expected = image.read_bytes()
    with disk.open("rb") as file:
        return file.read(len(expected)) == expected


def note(yard: Yard, claim: str, name: str) -> str:
    found = yard.core().read_namespaced_persistent_volume_claim(claim, "default")
    return str((found.metadata.annotations or {}).get("cdi.kubevirt.io/storage." + name, ""))


def claimed(yard: Yard, name: str, size: str = "64Mi", **spec: str) -> None:
    """A claim as old clients make it."""
    wish = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}
    yard.core().create_namespaced_persistent_volume_claim(
        "default",
        {
            "metadata": {"name": name, "annotations": {"cdi.kubevirt.io/storage.upload.target": ""}},
            "spec": wish,
        },
    )


def token(yard: Place, claim: str, version: str = "v1beta1") -> str:
    asked = {
        "apiVersion": f"{UPLOADS}/{version}",
        "kind": "UploadTokenRequest",
        "metadata": {"name": "token"},
        "spec": {"pvcName": claim},
    }
    api = client.CustomObjectsApi(yard.api())
    said = api.create_namespaced_custom_object(
        UPLOADS, version, "default", "uploadtokenrequests", asked, _preload_content=False
    )
    return str(
        json.loads(said.data)["status"]["token"]
    )  # CDI answers 200, which this client takes for nothing


@pytest.fixture(scope="session")
def proxy(yard: Yard, folder: Path) -> Iterator[requests.Session]:
    """A client that trusts what the CDIConfig says; `proxy.url` is the proxy."""
    with reached(yard, folder / "proxy-ca.crt") as found:
        yield found


class Reached(requests.Session):
    url = ""


def reached(yard: Place, file: Path) -> Reached:
    api = client.CustomObjectsApi(yard.api())
    status: dict[str, Any] = api.get_cluster_custom_object(
        "cdi.kubevirt.io", "v1beta1", "cdiconfigs", "config"
    )["status"]
    file.write_text(status.get("uploadProxyCA", ""))
    found = Reached()
    found.trust_env, found.verify, found.url = False, str(file), status["uploadProxyURL"]
    return found


def test_the_walk_throughs_own_command_fills_a_claim(yard: Yard, image: Path) -> None:
    done = uploaded(
        yard, f"--image-path={image}", "--pvc-name=iso-win10", "--pvc-size=64M", "--storage-class=local",
        "--insecure", "--wait-secs=240",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert holds(yard, "iso-win10", image)
    assert note(yard, "iso-win10", "pod.phase") == "Succeeded"
    yard.told("iso-win10", "UploadSucceeded: Upload Successful")
    eventually(lambda: not _pods(yard, "cdi-upload-iso-win10"), 60)


def _pods(yard: Yard, name: str) -> list[str]:
    found = yard.core().list_namespaced_pod("default")
    return [pod.metadata.name for pod in found.items if pod.metadata.name == name]


def test_needs_no_insecure_and_verifies_a_checksum(yard: Yard, image: Path) -> None:
    digest = hashlib.sha256(image.read_bytes()).hexdigest()

    wrong = uploaded(
        yard, "pvc", "sums", f"--image-path={image}", "--size=64Mi", "--checksum", f"sha256:{'0' * 64}"
    )
    right = uploaded(yard, "pvc", "sums", f"--image-path={image}", "--checksum", f"sha256:{digest}")

    assert wrong.returncode == 3
    assert digest in wrong.stderr
    assert right.returncode == 0, right.stderr
    assert holds(yard, "sums", image)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--storage-class=csi-rbd-sc", "--size=1Gi"), 'there is no StorageClass "csi-rbd-sc"'),
        (("--size=5Mi",), "ask for --size 10Mi"),
        ((), "the size must be specified"),
        (("--size=64Mi", "--storage-class=local-wait"), "--force-bind"),
        (("--size=64Mi", "--no-create"), "leave --no-create out"),
    ],
    ids=["no such class", "too small", "no size", "a class that waits", "not there"],
)
def test_what_cannot_work_is_said_before_anything_is_made(
    yard: Yard, image: Path, options: tuple[str, ...], words: str
) -> None:
    with within(5):
        done = uploaded(yard, "pvc", "never", f"--image-path={image}", *options)

    assert done.returncode == 3, done.stderr
    assert words in done.stderr
    names = [
        each.metadata.name for each in yard.core().list_namespaced_persistent_volume_claim("default").items
    ]
    assert "never" not in names


def test_an_old_clients_claim_of_no_such_class_says_so_itself(yard: Yard) -> None:
    claimed(yard, "ceph", storageClassName="csi-rbd-sc")

    yard.told("ceph", 'storageclass.storage.k8s.io "csi-rbd-sc" not found', 60)
    assert eventually(lambda: "csi-rbd-sc" in note(yard, "ceph", "condition.bound.message"), 60)


def test_what_is_made_is_bound_pointed_to_and_labelled_as_asked_for(yard: Yard, image: Path) -> None:
    done = uploaded(
        yard, "dv", "pointed", f"--image-path={image}", "--size=64Mi", "--storage-class=local-wait", "--force-bind",
        "--datasource", "--default-instancetype=u1.medium", "--default-preference=fedora",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    labels = {
        "instancetype.kubevirt.io/default-instancetype": "u1.medium",
        "instancetype.kubevirt.io/default-preference": "fedora",
    }
    assert yard.get("datavolumes", "pointed")["metadata"]["labels"].items() >= labels.items()
    source = yard.get("datasources", "pointed")
    assert source["spec"] == {"source": {"pvc": {"name": "pointed", "namespace": "default"}}}
    assert source["metadata"]["labels"].items() >= labels.items()


def test_an_archive_is_unpacked_and_no_image_takes_its_place(yard: Yard, image: Path, tmp_path: Path) -> None:
    packed = tmp_path / "files.tar"
    with tarfile.open(packed, "w") as tar:
        tar.add(image, "inside.img")
    claimed(yard, "files")

    as_it_is = uploaded(yard, "pvc", "files", f"--archive-path={packed}")
    done = uploaded(yard, "dv", "packed", f"--archive-path={packed}", "--size=64Mi")

    assert as_it_is.returncode == 3
    assert "PVC files takes an image: give --image-path, or another name" in as_it_is.stderr
    assert done.returncode == 0, done.stderr
    same = (yard.volume("packed") / "inside.img").read_bytes() == image.read_bytes()
    assert same


@pytest.mark.parametrize("kind", ["dv", "pvc"])
def test_a_quota_is_told_at_once(yard: Yard, image: Path, kind: str) -> None:
    place = f"full-{kind}"
    yard.core().create_namespace({"metadata": {"name": place}})
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"persistentvolumeclaims": "0"}}}
    yard.core().create_namespaced_resource_quota(place, quota)

    done = uploaded(yard, kind, "more", f"--image-path={image}", "--size=64Mi", "--namespace", place)

    assert done.returncode in (1, 3), done.stderr
    assert "exceeded quota: q" in done.stderr


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1"])
def test_old_and_new_clients_requests_are_served(
    yard: Yard, proxy: Reached, image: Path, version: str
) -> None:
    claimed(yard, f"old-{version}")
    eventually(lambda: note(yard, f"old-{version}", "pod.ready") == "true", 120)
    bearer = {"Authorization": f"Bearer {token(yard, f'old-{version}', version)}"}

    head = proxy.head(f"{proxy.url}/{version}/upload-async", headers=bearer, timeout=60)
    post = proxy.post(
        f"{proxy.url}/{version}/upload-async", data=image.read_bytes(), headers=bearer, timeout=120
    )

    assert (head.status_code, post.status_code, post.text) == (200, 200, "")
    eventually(lambda: note(yard, f"old-{version}", "pod.phase") == "Succeeded", 120)
    assert holds(yard, f"old-{version}", image)
    late = proxy.post(f"{proxy.url}/{version}/upload-async", data=b"x", headers=bearer, timeout=60)
    assert late.status_code == 503
    assert late.text == f"rejecting Upload Request for PVC old-{version} that already finished uploading"


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [("upload", 500, "is a web page (HTML"), ("upload-async", 200, "qemu-img could not convert")],
    ids=["said to its client", "found out when its client had gone"],
)
def test_an_upload_that_failed_stands_on_the_data_volume_and_another_can_come(
    yard: Yard, proxy: Reached, image: Path, tmp_path: Path, path: str, status: int, words: str
) -> None:
    name = f"tried-{path}"
    yard.create(data_volume(name, {"upload": {}}))
    yard.wait("datavolumes", name, "UploadReady", 120)
    body = broken_vhdx(tmp_path) if status == 200 else b"<!DOCTYPE html><html></html>" * 100
    bearer = {"Authorization": f"Bearer {token(yard, name)}"}

    answer = proxy.post(f"{proxy.url}/v1beta1/{path}", data=body, headers=bearer, timeout=120)

    assert answer.status_code == status, answer.text
    dv = yard.until("datavolumes", name, lambda dv: words in _running(dv), 120)
    (kept,) = json.loads(dv["metadata"]["annotations"]["diskyard.io/attempts"])
    assert words in kept["message"]
    yard.told(name, f"UnsupportedImage: {kept['message'][:40]}", 60)
    assert dv["status"]["phase"] == "UploadReady"
    again = proxy.post(f"{proxy.url}/v1beta1/upload", data=image.read_bytes(), headers=bearer, timeout=120)
    assert again.status_code == 200, again.text
    done = yard.wait("datavolumes", name, "Succeeded", 120)
    assert len(json.loads(done["metadata"]["annotations"]["diskyard.io/attempts"])) == 2
    assert holds(yard, name, image)


def _running(dv: dict[str, Any]) -> str:
    """The message of the condition Running."""
    found = [each for each in dv["status"].get("conditions", []) if each["type"] == "Running"]
    return str(found[0].get("message")) if found else ""


def test_tokens_are_for_one_claim_and_nothing_else(yard: Yard, proxy: Reached) -> None:
    good = token(yard, "nobody")
    head, body, sign = good.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    answers = {
        "none": proxy.post(f"{proxy.url}/v1beta1/upload", timeout=60),
        "not a token": _with(proxy, "abc"),
        "no signature": _with(proxy, f"{none}.{body}."),
        "another signature": _with(proxy, f"{head}.{body}.{sign[::-1]}"),
        "a claim that is not there": _with(proxy, good),
    }

    codes = {name: answer.status_code for name, answer in answers.items()}

    assert codes == {
        "none": 400, "not a token": 401, "no signature": 401, "another signature": 401,
        "a claim that is not there": 503,
    }  # fmt: skip
    assert (
        "rejecting Upload Request for PVC nobody that doesn&#x27;t exist"
        in answers["a claim that is not there"].text
    )


def _with(proxy: Reached, text: str) -> requests.Response:
    return proxy.post(f"{proxy.url}/v1beta1/upload", headers={"Authorization": f"Bearer {text}"}, timeout=60)


def test_the_proxy_speaks_tls_as_the_configuration_says(yard: Yard, proxy: Reached) -> None:
    assert cipher(proxy.url, TLS_1_2)
    _configured(yard, {"type": "Modern", "modern": {}})
    eventually(lambda: not cipher(proxy.url, TLS_1_2), 60)
    assert cipher(proxy.url)

    _configured(yard, None)

    eventually(lambda: cipher(proxy.url, TLS_1_2), 60)


def _configured(yard: Yard, profile: dict[str, Any] | None) -> None:
    change = {"spec": {"config": {"tlsSecurityProfile": profile}}}
    api = client.CustomObjectsApi(yard.api())
    api.patch_cluster_custom_object("cdi.kubevirt.io", "v1beta1", "cdis", "cdi", change)


def test_any_page_may_use_the_proxy(proxy: Reached) -> None:
    asked = {
        "Origin": "https://example.com",
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "upload-offset",
    }

    answer = proxy.options(f"{proxy.url}/v1/uploads", headers=asked, timeout=60)

    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "PATCH" in answer.headers["Access-Control-Allow-Methods"]
    assert "upload-offset" in answer.headers["Access-Control-Allow-Headers"]


def test_an_upload_goes_on_after_kill_9_of_the_yard_and_its_pod(tmp_path: Path) -> None:
    image = tmp_path / "noise.img"
    image.write_bytes(os.urandom(40 * MIB))
    directory = tmp_path / "yard"
    with running(directory) as yard:
        claimed(yard, "disk", "128Mi")
        eventually(lambda: note(yard, "disk", "pod.ready") == "true", 120)
        url, offset = _begun(yard, tmp_path, image)
        before = _ready(yard, "cdi-upload-disk")
        yard.kill()
    with running(directory) as yard:
        yard.core().delete_namespaced_pod(
            "cdi-upload-disk", "default", grace_period_seconds=0, _preload_content=False
        )
        eventually(lambda: _ready(yard, "cdi-upload-disk") not in ("", before), 120)

        def held() -> int:
            headers = {"Authorization": f"Bearer {token(yard, 'disk')}", "Tus-Resumable": "1.0.0"}
            proxy = reached(yard, tmp_path / "ca")
            try:
                answer = proxy.head(proxy.url + url, headers=headers, timeout=60)
            except requests.ConnectionError as error:  # it may be where it is not said to be yet
                raise AssertionError(str(error)) from error
            assert answer.status_code == 200, answer.status_code
            return int(answer.headers["Upload-Offset"])

        assert eventually(held, 120) == offset
        rest = _patch(reached(yard, tmp_path / "ca"), yard, url, offset, image.read_bytes()[offset:])
        assert rest.status_code == 204, rest.text
        eventually(lambda: note(yard, "disk", "pod.phase") == "Succeeded", 120)
        assert holds(yard, "disk", image)


def _ready(yard: Yard, name: str) -> str:
    """The uid of the pod of that name once it is ready; empty: it is not."""
    found = [pod for pod in yard.core().list_namespaced_pod("default").items if pod.metadata.name == name]
    known = [each for pod in found for each in pod.status.conditions or () if each.type == "Ready"]
    return str(found[0].metadata.uid) if known and known[0].status == "True" else ""


def _begun(yard: Yard, folder: Path, image: Path) -> tuple[str, int]:
    proxy = reached(yard, folder / "ca")
    headers = {
        "Authorization": f"Bearer {token(yard, 'disk')}",
        "Tus-Resumable": "1.0.0",
        "Upload-Length": str(image.stat().st_size),
    }
    made = proxy.post(f"{proxy.url}/v1/uploads", headers=headers, timeout=60)
    assert made.status_code == 201, made.text
    answer = _patch(proxy, yard, made.headers["Location"], 0, image.read_bytes()[: 23 * MIB])
    return made.headers["Location"], int(answer.headers["Upload-Offset"])


def _patch(proxy: Reached, yard: Yard, url: str, offset: int, body: bytes) -> requests.Response:
    headers = {
        "Authorization": f"Bearer {token(yard, 'disk')}",
        "Tus-Resumable": "1.0.0",
        "Upload-Offset": str(offset),
        "Content-Type": "application/offset+octet-stream",
    }
    return proxy.patch(proxy.url + url, data=body, headers=headers, timeout=120)
