"""The importer as a pod runs it: environment in; a disk, an exit code and a termination message out."""

import hashlib
import json
import os
import signal
import ssl
import threading
import urllib.request
from pathlib import Path

import pytest

from diskyard.api.job import BLANK, ImportJob
from diskyard.api.names import cdi
from tests.builders import eventually
from tests.disk.images import MIB, allocated, left_behind, same
from tests.imageserver import Exchange, ImageServer, fault_server, status
from tests.importer.conftest import Pod

GIB = 1 << 30
LARGE = 160 * MIB


def journalled(pod: Pod) -> int:
    """The offset that the journal calls durable."""
    path = pod.volume / ".disk.img.journal"
    text = path.read_bytes().strip() if path.exists() else b""
    return int(json.loads(text.split(b" ", 1)[1])["offset"]) if text else 0


@pytest.fixture(scope="session")
def large(images: ImageServer) -> Path:
    """A disk that takes a few seconds below /slow/, and no compression shortens."""
    path = images.root / "large.raw"
    path.write_bytes(os.urandom(LARGE))
    return path


@pytest.mark.parametrize("name", ["disk.raw", "disk.qcow2"])
def test_an_import_fills_the_claim_to_what_of_it_is_usable(images: ImageServer, pod: Pod, name: str) -> None:
    body = (images.root / name).read_bytes()
    checksum = f"sha256:{hashlib.sha256(body).hexdigest()}"
    job = ImportJob("http", images.url(name), image_size="1138166334", overhead="0.06", checksum=checksum)

    ended = pod.run(job)

    assert (ended.code, ended.message.message) == (0, "Import Complete")
    assert ended.message.digest == checksum
    assert ended.message.bytes_fetched == len(body)
    assert pod.disk.stat().st_size == GIB
    assert allocated(pod.disk) < 8 * MIB
    assert pod.disk.stat().st_mode & 0o777 == 0o660
    os.truncate(pod.disk, 24 * MIB)
    assert same(images.root / "disk.raw", pod.disk)
    assert left_behind(pod.volume) == ["disk.img"]


def test_a_blank_disk_is_empty_and_of_the_usable_size(pod: Pod) -> None:
    ended = pod.run(ImportJob(BLANK, image_size="1139Mi", overhead="0.06"))

    assert ended.code == 0
    assert pod.disk.stat().st_size == 1074 * MIB
    assert allocated(pod.disk) == 0


CONNECT = "Unable to connect to http data source: expected status code 200, got"
TOO_LARGE = "virtual image size 25165824 is larger than the reported available storage 8388608. "
MISMATCH = "Unable to process data: checksum validation failed: checksum mismatch"


@pytest.mark.parametrize(
    ("path", "job", "code", "reason", "words"),
    [
        ("none.img", {}, 3, "SourceMissing", f"{CONNECT} 404"),
        ("private/disk.raw", {}, 3, "AccessDenied", f"{CONNECT} 401"),
        ("broken/x", {}, 4, "SourceUnavailable", f"{CONNECT} 503"),
        ("disk.raw", {"image_size": "8Mi"}, 3, "ImageTooLarge", TOO_LARGE),
        ("disk.qcow2", {"image_size": "8Mi"}, 3, "ImageTooLarge", TOO_LARGE),
        ("disk.raw", {"checksum": "md5:" + "0" * 32}, 3, "ChecksumError", MISMATCH),
        ("disk.raw", {"checksum": "crc:0"}, 3, "InvalidRequest", "algorithms are: md5, sha1, sha256, sha512"),
        ("disk.raw", {"content_type": "archive"}, 3, "UnsupportedImage", "archive"),
    ],
)
def test_a_failure_says_why_and_leaves_nothing(
    images: ImageServer, pod: Pod, path: str, job: dict[str, str], code: int, reason: str, words: str
) -> None:
    ended = pod.run(ImportJob("http", images.url(path), **job))  # type: ignore[arg-type]

    assert (ended.code, ended.message.reason, ended.message.fatal) == (code, reason, code == 3)
    assert words in ended.message.message
    assert left_behind(pod.volume) == []


def test_credentials_come_from_the_environment(images: ImageServer, pod: Pod) -> None:
    ended = pod.run(ImportJob("http", images.url("private/disk.raw"), access_key="ann", secret_key="secret"))

    assert ended.code == 0
    assert "secret" not in ended.log


def test_after_kill_9_at_most_64_mib_are_fetched_again(images: ImageServer, pod: Pod, large: Path) -> None:
    checksum = f"sha256:{hashlib.sha256(large.read_bytes()).hexdigest()}"
    job = ImportJob("http", images.url("slow/large.raw"), checksum=checksum)
    process = pod.start(job)
    eventually(lambda: journalled(pod) >= 64 * MIB, 60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    durable = journalled(pod)
    written = (pod.volume / ".disk.img.part").stat().st_blocks * 512

    ended = pod.run(job)

    assert ended.code == 0
    assert written - durable <= 64 * MIB
    assert ended.message.bytes_fetched <= LARGE - durable + MIB
    assert ended.message.digest == checksum
    assert pod.disk.read_bytes() == large.read_bytes()
    assert left_behind(pod.volume) == ["disk.img"]


def test_sigterm_keeps_what_is_here_for_the_next_run(images: ImageServer, pod: Pod, large: Path) -> None:
    job = ImportJob("http", images.url("slow/large.raw"))
    process = pod.start(job)
    eventually(lambda: journalled(pod) >= 32 * MIB, 60)
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=120)
    stopped = pod.ended(process.returncode, log)

    ended = pod.run(job)

    assert (stopped.code, stopped.message.reason) == (143, "Stopped")
    assert (stopped.message.phase, stopped.message.bytes_fetched >= 32 * MIB) == ("transferring", True)
    assert not pod.ended(0).message.fatal
    assert ended.code == 0
    assert ended.message.bytes_fetched <= LARGE - 32 * MIB + MIB
    assert pod.disk.read_bytes() == large.read_bytes()


def test_sigterm_does_not_wait_for_a_server_that_says_nothing(pod: Pod) -> None:
    stalled, released = threading.Event(), threading.Event()

    def stall(exchange: Exchange) -> None:
        exchange.ranged(stop=6 * MIB)
        exchange.handler.wfile.flush()
        stalled.set()
        released.wait(60)

    with fault_server(bytes(LARGE), stall) as server:
        process = pod.start(ImportJob("http", server.url()))
        assert stalled.wait(60)
        eventually((pod.volume / ".disk.img.part").exists)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=120)
        released.set()

    assert process.returncode == 143, said


def test_a_source_that_has_changed_meanwhile_starts_clean_and_says_so(images: ImageServer, pod: Pod) -> None:
    path = images.root / "changing.raw"
    path.write_bytes(b"A" * LARGE)
    job = ImportJob("http", images.url("slow/changing.raw"))
    process = pod.start(job)
    eventually(lambda: journalled(pod) >= 32 * MIB, 60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    path.write_bytes(b"B" * (LARGE - 7))

    ended = pod.run(job)

    assert ended.code == 0
    assert "the source has changed" in ended.log
    assert pod.disk.read_bytes() == b"B" * (LARGE - 7)


def test_progress_is_served_on_the_pods_address(images: ImageServer, pod: Pod, large: Path) -> None:
    port = free_port()
    job = ImportJob("http", images.url("crawl/large.raw"), owner_uid="a-b-c")
    process = pod.start(job, **{cdi.ENV_POD_IP: "127.0.0.1", cdi.ENV_METRICS_PORT: str(port)})
    try:
        text = eventually(lambda: scraped(port))
        told = json.loads(scraped(port, "/progress"))
    finally:
        process.kill()
        process.communicate()

    assert f'{cdi.PROGRESS_METRIC}{{ownerUID="a-b-c"}} ' in text
    assert f'{cdi.SOURCE_METRIC}{{ownerUID="a-b-c"}} {LARGE}' in text
    percent = float(text.split(f'{cdi.PROGRESS_METRIC}{{ownerUID="a-b-c"}} ')[1].split()[0])
    assert 0 <= percent < 100
    assert (told["phase"], told["total"]) == ("transferring", LARGE)
    assert told["stalledSeconds"] < 60


def free_port() -> int:
    with fault_server(b"") as server:
        return server.port


def scraped(port: int, path: str = "/metrics") -> str:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(
            f"https://127.0.0.1:{port}{path}", context=trusting, timeout=60
        ) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def test_a_page_instead_of_an_image_is_refused(pod: Pod) -> None:
    with fault_server(b"", status(200, b"<!doctype html><title>Sign in</title>")) as server:
        ended = pod.run(ImportJob("http", server.url()))

    assert (ended.code, ended.message.reason) == (3, "UnsupportedImage")
    assert "web page" in ended.message.message
