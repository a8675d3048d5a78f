"""The upload pod by CDI's requests: their codes, their words, and what lies in the volume afterwards."""

import base64
import gzip
import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.builders import eventually
from tests.disk.images import converted, put_last
from tests.handshake import TLS_1_2, cipher
from tests.uploadproxy.images import MIB, broken_vhdx, holds, noise, qcow2
from tests.uploadproxy.pod import Pod, Stalled, upload_pod

RAW = noise(3 * MIB) + bytes(4 * MIB) + noise(MIB)


@pytest.mark.parametrize(
    "path", ["/v1beta1/upload", "/v1alpha1/upload", "/v1beta1/upload-async", "/v1alpha1/upload-async"]
)
def test_a_raw_image_becomes_the_disk_and_the_pod_ends(pod: Pod, path: str) -> None:
    answer = pod.post(path, RAW)

    assert (answer.status_code, answer.text) == (200, "")
    code, said = pod.ended()
    assert code == 0
    assert json.loads(said)["message"] == "Upload Complete"
    assert holds(pod.disk, RAW)
    assert pod.left() == ["disk.img"]


@pytest.mark.parametrize("pack", ["qcow2", "gz", "zst", "xz"])
def test_images_are_unpacked_on_their_way_without_scratch(pod: Pod, tmp_path: Path, pack: str) -> None:
    file = tmp_path / "disk.raw"
    file.write_bytes(RAW)
    tools = {"gz": "gzip -c", "zst": "zstd -qc", "xz": "xz -c1"}
    body = (
        qcow2(tmp_path, RAW)
        if pack == "qcow2"
        else subprocess.run([*tools[pack].split(), file], capture_output=True, check=True).stdout
    )

    assert pod.post("/v1beta1/upload", body).status_code == 200

    assert pod.ended()[0] == 0
    assert holds(pod.disk, RAW)


def test_a_form_has_the_image_in_the_part_named_file(pod: Pod) -> None:
    parts = {"note": (None, "not this one"), "file": ("disk.img", RAW)}

    answer = pod.session.post(pod.url + "/v1beta1/upload-form", files=parts, timeout=60)

    assert answer.status_code == 200
    assert pod.ended()[0] == 0
    assert holds(pod.disk, RAW)


def test_a_qcow2_whose_tables_lie_behind_its_data_is_sent_once(pod: Pod, tmp_path: Path) -> None:
    """What has passed unnamed is kept beside the disk: nobody is asked to send it again."""
    words = tmp_path / "words.raw"
    words.write_bytes(base64.b64encode(os.urandom(18 << 20)))
    image = converted(words, tmp_path / "image.qcow2", "qcow2", "-c")
    put_last(image)

    answer = pod.post("/v1beta1/upload", image.read_bytes())

    assert answer.status_code == 200, answer.text
    assert pod.ended()[0] == 0
    assert holds(pod.disk, words.read_bytes())


def test_what_is_no_post_or_has_no_place_is_not_found(pod: Pod) -> None:
    assert pod.session.head(pod.url + "/v1beta1/upload-async", timeout=60).status_code == 200
    assert pod.session.head(pod.url + "/v1beta1/upload", timeout=60).status_code == 404
    assert pod.session.get(pod.url + "/v1beta1/upload", timeout=60).status_code == 404
    assert pod.session.put(pod.url + "/v1beta1/upload-async", timeout=60).status_code == 404


def test_nobody_but_the_proxy_comes_in(pod: Pod) -> None:
    for certificate in ("other", None):
        with requests.Session() as stranger:
            stranger.trust_env = False
            stranger.verify = pod.session.verify
            if certificate:
                folder = pod.folder / certificate
                stranger.cert = (str(folder / "tls.crt"), str(folder / "tls.key"))
            assert stranger.post(pod.url + "/v1beta1/upload", data=RAW, timeout=60).status_code == 401
            assert stranger.get(pod.url + "/healthz", timeout=60).status_code == 200

    assert pod.left() == []


def test_an_image_that_does_not_fit_is_refused_before_the_rest_is_sent(pod: Pod, tmp_path: Path) -> None:
    image = tmp_path / "large.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "40G"], check=True)
    first = image.read_bytes()[:MIB].ljust(MIB, b"\0")

    code, text = pod.early("/v1beta1/upload", first, 40 << 30)

    assert code == 400
    assert text.startswith(
        "Saving stream failed: effective image size is larger than the reported available storage: "
        "virtual image size 42949672960 is larger than the reported available storage"
    )
    assert pod.left() == []
    assert pod.post("/v1beta1/upload", RAW).status_code == 200


def test_what_is_no_image_says_so_and_leaves_nothing(pod: Pod) -> None:
    answer = pod.post("/v1beta1/upload-async", b"<!DOCTYPE html><html>Please log in</html>" * 100)

    assert answer.status_code == 500
    assert answer.text.startswith("Saving stream failed: ")
    assert pod.left() == []


def test_its_controller_learns_of_every_upload_that_failed(pod: Pod) -> None:
    for page in (b"<!DOCTYPE html>" * 100, b"<html>" * 100):
        assert pod.post("/v1beta1/upload", page).status_code == 500

    said = eventually(lambda: pod.progress()["failures"], 60)

    assert [(each["number"], each["reason"]) for each in said] == [
        (1, "UnsupportedImage"), (2, "UnsupportedImage"),
    ]  # fmt: skip
    assert all(each["message"].startswith("Saving stream failed: ") for each in said)
    assert pod.post("/v1beta1/upload", RAW).status_code == 200


@pytest.mark.parametrize(("profile", "old"), [({}, True), ({"type": "Modern", "modern": {}}, False)])
def test_speaks_tls_as_old_as_the_configuration_allows(
    tmp_path: Path, profile: dict[str, Any], old: bool
) -> None:
    with upload_pod(tmp_path) as pod:
        pod.job = replace(pod.job, tls=profile)
        pod.start()

        assert bool(cipher(pod.url, TLS_1_2)) is old
        assert cipher(pod.url)


def test_a_client_that_got_200_can_ask_how_the_conversion_ended(pod: Pod, tmp_path: Path) -> None:
    assert pod.post("/v1beta1/upload-async", broken_vhdx(tmp_path)).status_code == 200

    def over() -> Any:
        said = pod.session.get(pod.url + "/v1/uploads", timeout=60).json()
        return said if said["state"] != "processing" else None

    said = eventually(over, 60)

    assert (said["state"], said["reason"]) == ("failed", "UnsupportedImage")
    assert "qemu-img could not convert the vhdx image" in said["message"]
    assert said["message"] in pod.progress()["failures"][0]["message"]
    assert pod.left() == []
    assert pod.post("/v1beta1/upload", RAW).status_code == 200


@pytest.mark.parametrize("header", ["Content-Digest", "Repr-Digest", "Digest"])
def test_a_promised_digest_is_verified_before_anything_is_visible(pod: Pod, header: str) -> None:
    digest = base64.b64encode(hashlib.sha256(RAW).digest()).decode()
    wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    form = "SHA-256={}" if header == "Digest" else "sha-256=:{}:"

    refused = pod.post("/v1beta1/upload", RAW, **{header: form.format(wrong)})
    left = pod.left()
    taken = pod.post("/v1beta1/upload", RAW, **{header: form.format(digest)})

    assert refused.status_code == 500
    assert hashlib.sha256(RAW).hexdigest() in refused.text
    assert left == []
    assert taken.status_code == 200


def test_one_upload_at_a_time(pod: Pod) -> None:
    body = Stalled(RAW[:MIB], RAW[MIB:])
    first: list[requests.Response] = []
    thread = threading.Thread(target=lambda: first.append(pod.post("/v1beta1/upload", iter(body))))
    thread.start()
    eventually(lambda: pod.left() != [], 60)

    with requests.Session() as other:
        other.trust_env, other.verify, other.cert = False, pod.session.verify, pod.session.cert
        second = other.post(pod.url + "/v1beta1/upload", data=b"x", timeout=60)
    body.go.set()
    thread.join(60)

    assert second.status_code == 503
    assert first[0].status_code == 200
    assert holds(pod.disk, RAW)


def test_an_earlier_disk_is_replaced_and_a_foreign_file_stays(tmp_path: Path) -> None:
    with upload_pod(tmp_path) as pod:
        pod.disk.write_bytes(b"an earlier disk" * 10_000_000)
        (pod.volume / "notes.txt").write_text("mine")
        pod.start()

        assert pod.post("/v1beta1/upload", RAW).status_code == 200

        assert holds(pod.disk, RAW)
        assert pod.left() == ["disk.img", "notes.txt"]


def test_an_archive_is_unpacked(tmp_path: Path) -> None:
    source = tmp_path / "files"
    source.mkdir()
    (source / "a.txt").write_text("one")
    tar = subprocess.run(["tar", "-C", source, "-c", "a.txt"], capture_output=True, check=True).stdout
    with upload_pod(tmp_path, content_type="archive") as pod:
        pod.start()

        assert pod.post("/v1beta1/upload-archive", gzip.compress(tar)).status_code == 200

        assert pod.ended()[0] == 0
        assert (pod.volume / "a.txt").read_text() == "one"


def test_a_client_that_goes_away_leaves_room_for_the_next(pod: Pod) -> None:
    def breaking() -> Iterator[bytes]:
        yield RAW[:MIB]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pod.post("/v1beta1/upload", breaking())

    eventually(lambda: pod.post("/v1beta1/upload", RAW).status_code == 200, 60)
    assert holds(pod.disk, RAW)


def test_at_its_deadline_an_idle_server_ends(tmp_path: Path) -> None:
    with upload_pod(tmp_path, deadline="2026-01-01T00:00:00Z") as pod:
        pod.start()

        code, said = pod.ended()

    assert code == 0
    assert json.loads(said) == {"deadlinePassed": True, "message": "Deadline Passed"}
