"""Resumable uploads: tus 1.0, and what other servers have got wrong (a retried PATCH stored twice, HEAD ahead of the
bytes, an offset behind them, a half-open socket that keeps the lock, 409 for ever)."""

import base64
import ctypes
import gzip
import hashlib
import os
import random
import signal
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
import requests

from diskyard.api.names import upload
from tests.builders import eventually
from tests.disk.images import late
from tests.uploadproxy.images import MIB, holds, noise, qcow2
from tests.uploadproxy.pod import BODY, TUS, Pod, upload_pod

RAW = noise(3 * MIB) + bytes(4 * MIB) + noise(MIB + 1)


def test_says_what_it_can(pod: Pod) -> None:
    answer = pod.session.options(pod.url + upload.UPLOADS, timeout=60)

    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert set(answer.headers["Tus-Extension"].split(",")) == {
        "creation", "creation-with-upload", "checksum", "termination", "expiration",
    }  # fmt: skip


def test_chunks_of_any_size_become_the_disk(pod: Pod) -> None:
    url, offset = pod.create(len(RAW)), 0
    sizes = random.Random(7)

    while offset < len(RAW):
        end = min(len(RAW), offset + sizes.choice((1, 17, 4096, 300_001, 2 * MIB)))
        answer = pod.patch(url, offset, RAW[offset:end])
        assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(end)), answer.text
        offset = end

    assert pod.ended()[0] == 0
    assert holds(pod.disk, RAW)
    assert pod.left() == ["disk.img"]


def test_a_first_chunk_can_come_with_the_creation(pod: Pod) -> None:
    answer = pod.session.post(
        pod.url + upload.UPLOADS, data=RAW[:MIB], headers={**BODY, "Upload-Length": str(len(RAW))}, timeout=60
    )

    assert answer.status_code == 201
    assert answer.headers["Upload-Offset"] == str(MIB)
    assert pod.offset(pod.url + answer.headers["Location"]) == MIB


def test_a_retried_chunk_is_not_stored_twice(pod: Pod) -> None:
    url = pod.create(len(RAW))
    pod.patch(url, 0, RAW[:MIB])

    again = pod.patch(url, 0, RAW[:MIB])

    assert again.status_code == 409
    assert pod.offset(url) == MIB
    assert pod.patch(url, MIB, RAW[MIB:]).status_code == 204
    assert pod.ended()[0] == 0
    assert holds(pod.disk, RAW)


def test_what_came_before_a_line_broke_is_kept_and_409_ends(pod: Pod) -> None:
    url = pod.create(len(RAW))
    first, _ = _half(pod, url, RAW[: 2 * MIB])
    first.close()

    offset = eventually(lambda: pod.offset(url), 60)

    assert offset <= 2 * MIB
    assert eventually(lambda: pod.patch(url, pod.offset(url), RAW[pod.offset(url) :]).status_code == 204, 60)
    assert pod.ended()[0] == 0
    assert holds(pod.disk, RAW)


def _half(pod: Pod, url: str, first: bytes) -> tuple[ssl.SSLSocket, str]:
    """A connection of its own, on which a PATCH has sent its first bytes."""
    context = ssl.create_default_context(cafile=str(pod.session.verify))
    context.load_cert_chain(*pod.session.cert)
    sock = context.wrap_socket(
        socket.create_connection(("127.0.0.1", pod.job.port), 60), server_hostname="127.0.0.1"
    )
    path = url.removeprefix(pod.url)
    lines = {**BODY, "Host": "x", "Upload-Offset": "0", "Content-Length": str(len(RAW))}
    head = "".join(f"{name}: {text}\r\n" for name, text in lines.items())
    sock.sendall(f"PATCH {path} HTTP/1.1\r\n{head}\r\n".encode() + first)
    return sock, path


def test_a_second_writer_is_locked_out_until_the_first_falls_silent(pod: Pod) -> None:
    url = pod.create(len(RAW))
    first, _ = _half(pod, url, RAW[:MIB])
    eventually(lambda: pod.patch(url, len(RAW) - 1, b"too long").status_code == 423, 60)

    offset = eventually(lambda: _taken_over(pod, url), 60)

    assert offset >= MIB
    assert pod.patch(url, offset, RAW[offset:]).status_code == 204
    first.close()
    assert pod.ended()[0] == 0
    assert holds(pod.disk, RAW)


def _taken_over(pod: Pod, url: str) -> int:
    """The offset, once the silent writer has lost its turn."""
    offset = pod.offset(url)
    return offset if offset >= MIB else 0


def test_a_client_that_sends_nothing_is_given_up(tmp_path: Path) -> None:
    with upload_pod(tmp_path, idle=3.0) as pod:
        pod.start()
        url = pod.create(len(RAW))
        first, _ = _half(pod, url, RAW[:MIB])
        first.settimeout(60)

        assert b" 408 " in first.recv(200)

        first.close()
        assert pod.offset(url) == MIB


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "md5"])
def test_a_chunk_with_a_wrong_checksum_is_dropped(pod: Pod, algorithm: str) -> None:
    url = pod.create(len(RAW))
    right = base64.b64encode(hashlib.new(algorithm, RAW[:MIB], usedforsecurity=False).digest()).decode()
    wrong = base64.b64encode(hashlib.new(algorithm, b"?", usedforsecurity=False).digest()).decode()

    refused = pod.patch(url, 0, RAW[:MIB], **{"Upload-Checksum": f"{algorithm} {wrong}"})
    assert refused.status_code == 460
    assert pod.offset(url) == 0
    assert pod.patch(url, 0, RAW[:MIB], **{"Upload-Checksum": f"{algorithm} {right}"}).status_code == 204
    assert pod.offset(url) == MIB
    assert pod.patch(url, MIB, RAW[MIB:], **{"Upload-Checksum": "crc99 abcd"}).status_code == 400


def test_a_promised_digest_of_the_whole_is_verified(pod: Pod) -> None:
    said = base64.b64encode(b"sha256:" + b"0" * 64).decode()
    url = pod.create(len(RAW), **{"Upload-Metadata": f"filename ZGlzaw==,checksum {said}"})

    answer = pod.patch(url, 0, RAW)

    assert answer.status_code == 400
    assert hashlib.sha256(RAW).hexdigest() in answer.text
    assert pod.session.head(url, headers=TUS, timeout=60).status_code == 410
    assert pod.left() == []
    assert pod.post("/v1beta1/upload", RAW).status_code == 200


def test_what_does_not_fit_is_refused_by_its_first_chunk(pod: Pod, tmp_path: Path) -> None:
    image = tmp_path / "large.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "40G"], check=True)
    first = image.read_bytes()[:MIB].ljust(MIB, b"\0")
    url = pod.create(40 << 30)

    answer = pod.patch(url, 0, first)

    assert answer.status_code == 400
    assert "virtual image size 42949672960 is larger than the reported available storage" in answer.text
    assert pod.left() == []


def test_an_upload_can_be_ended_and_another_begun(pod: Pod) -> None:
    url = pod.create(len(RAW))
    pod.patch(url, 0, RAW[:MIB])

    assert pod.session.delete(url, headers=TUS, timeout=60).status_code == 204

    assert pod.session.head(url, headers=TUS, timeout=60).status_code == 404
    assert pod.left() == []
    other = pod.create(len(RAW))
    assert pod.patch(other, 0, RAW).status_code == 204
    assert pod.session.head(url, headers=TUS, timeout=60).status_code == 404


def test_an_upload_that_nobody_goes_on_with_expires(tmp_path: Path) -> None:
    with upload_pod(tmp_path, expiry=1.0) as pod:
        pod.start()
        url = pod.create(len(RAW))
        pod.patch(url, 0, RAW[:MIB])

        eventually(lambda: pod.left() == [], 60)

        assert pod.session.head(url, headers=TUS, timeout=60).status_code in (404, 410)


def test_it_expires_as_its_proxy_has_said_also_when_another_server_finds_it(pod: Pod) -> None:
    url = pod.create(len(RAW), **{upload.EXPIRY_HEADER: "5"})
    pod.patch(url, 0, RAW[:MIB], **{upload.EXPIRY_HEADER: "5"})
    pod.kill()
    left = pod.left()
    pod.start()

    assert left
    eventually(lambda: pod.left() == [], 60)


def test_what_is_no_tus_is_told_so(pod: Pod) -> None:
    url = pod.create(len(RAW))

    codes = [
        pod.session.head(url, timeout=60).status_code,
        pod.session.patch(url, data=b"x", headers={**TUS, "Upload-Offset": "0"}, timeout=60).status_code,
        pod.patch(url, 0, b"x", **{"Upload-Offset": "-1"}).status_code,
        pod.session.post(pod.url + upload.UPLOADS, headers=TUS, timeout=60).status_code,
        pod.patch(url, 0, RAW + b"too much").status_code,
        pod.patch(pod.url + upload.UPLOADS + "/" + "0" * 32, 0, b"x").status_code,
    ]

    assert codes == [412, 415, 400, 400, 413, 404]


def test_who_forgot_the_upload_finds_it_by_its_fingerprint(pod: Pod) -> None:
    said = base64.b64encode(b"dev-ino-size").decode()
    url = pod.create(len(RAW), **{"Upload-Metadata": f"fingerprint {said}"})
    pod.patch(url, 0, RAW[:MIB])
    pod.kill()
    pod.start()

    found = pod.session.get(pod.url + upload.UPLOADS, timeout=60).json()

    assert found["state"] == "uploading"
    assert url.endswith(found["id"])
    assert (found["offset"], found["length"]) == (MIB, len(RAW))
    assert found["metadata"] == {"fingerprint": "dev-ino-size"}


@pytest.mark.parametrize("image", ["raw", "qcow2"])
def test_after_kill_9_anywhere_the_offset_is_on_disk(pod: Pod, tmp_path: Path, image: str) -> None:
    disk = noise(20 * MIB)
    body = disk if image == "raw" else qcow2(tmp_path, disk)
    url, places = pod.create(len(body)), random.Random(len(image))
    told = 0

    for _ in range(3):
        offset = pod.offset(url)
        assert offset >= told
        end = min(len(body) - 1, offset + places.randrange(1, 7 * MIB))
        told = int(pod.patch(url, offset, body[offset:end]).headers["Upload-Offset"])
        if places.random() < 0.5:
            sock, _ = _half(pod, url, b"")
            sock.close()
        pod.kill()
        pod.start()

    offset = pod.offset(url)
    assert offset == told
    assert pod.patch(url, offset, body[offset:]).status_code == 204
    assert pod.ended()[0] == 0
    assert holds(pod.disk, disk)


def test_a_compressed_stream_goes_on_over_lines_and_starts_over_with_the_server(pod: Pod) -> None:
    body = gzip.compress(RAW, 1)
    url = pod.create(len(body))
    pod.patch(url, 0, body[:MIB])
    assert pod.offset(url) == MIB
    pod.kill()
    pod.start()

    offset = pod.offset(url)
    assert offset <= MIB
    assert pod.patch(url, offset, body[offset:]).status_code == 204
    assert pod.ended()[0] == 0
    assert holds(pod.disk, RAW)


def test_a_server_that_is_told_to_stop_keeps_what_it_has(pod: Pod) -> None:
    url = pod.create(len(RAW))
    first, _ = _half(pod, url, RAW[: 2 * MIB])
    eventually(lambda: pod.progress()["fetched"] > 0, 60)

    assert pod.kill(signal.SIGTERM) == 143
    first.close()
    pod.start()

    assert 0 < pod.offset(url) <= 2 * MIB


def test_a_server_is_told_to_stop_by_whichever_of_its_threads_is_told(pod: Pod) -> None:
    """Python handles a signal in its first thread, which nothing wakes where another one was given it."""
    assert pod.process
    pid = pod.process.pid
    other = max(int(each.name) for each in Path(f"/proc/{pid}/task").iterdir())
    assert other != pid

    assert ctypes.CDLL(None).tgkill(pid, other, signal.SIGTERM) == 0

    assert pod.ended()[0] == 143


def test_an_image_out_of_order_is_asked_for_from_its_start_once(pod: Pod, tmp_path: Path) -> None:
    image, expected = tmp_path / "guest.qcow2", tmp_path / "expected"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "40M"], check=True)
    for at in (31, 1, 12):
        subprocess.run(
            ["qemu-io", "-f", "qcow2", "-c", f"write -P {at} {at}M 6M", image],
            check=True,
            capture_output=True,
        )
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, expected], check=True)
    body = image.read_bytes()
    url = pod.create(len(body))

    for _ in range(20):
        offset = _offset_or_done(pod, url)
        if offset is None:
            break
        pod.patch(url, offset, body[offset : offset + 5 * MIB])

    assert pod.ended()[0] == 0
    assert holds(pod.disk, expected.read_bytes())


def test_after_kill_9_an_image_with_late_tables_is_asked_for_from_its_start(pod: Pod, tmp_path: Path) -> None:
    """What waited for a table was kept by the server that was killed, and by nobody else."""
    disk = noise(14 * MIB)
    body = late(qcow2(tmp_path, disk, "-o", "cluster_size=4k"), range(7))
    url = pod.create(len(body))
    for _ in range(2):
        offset = pod.offset(url)
        pod.patch(url, offset, body[offset : offset + 5 * MIB])
    pod.kill()
    pod.start()

    for _ in range(20):
        if (offset := _offset_or_done(pod, url)) is None:
            break
        pod.patch(url, offset, body[offset : offset + 5 * MIB])

    assert pod.ended()[0] == 0
    assert holds(pod.disk, disk)


def _offset_or_done(pod: Pod, url: str) -> int | None:
    try:
        answer = pod.session.head(url, headers=TUS, timeout=60)
    except requests.ConnectionError:
        return None
    done = answer.status_code != 200 or answer.headers["Upload-Offset"] == answer.headers["Upload-Length"]
    return None if done else int(answer.headers["Upload-Offset"])


def test_memory_stays_bounded(tmp_path: Path) -> None:
    with upload_pod(tmp_path) as pod:
        pod.job = type(pod.job)(**{**vars(pod.job), "image_size": "1Gi"})
        pod.start()
        assert pod.process
        url, piece = pod.create(400 * MIB), os.urandom(MIB)
        for offset in range(0, 320 * MIB, 64 * MIB):
            pod.patch(url, offset, (piece for _ in range(64)))
        status = Path(f"/proc/{pod.process.pid}/status").read_text()

        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))

    assert peak < 96 * 1024, f"{peak} KiB"
