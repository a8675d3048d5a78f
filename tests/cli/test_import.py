"""`diskyard import`: a disk, one JSON object, exit codes that scripts can tell apart."""

import base64
import hashlib
import json
import os
import pty
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.builders import eventually
from tests.cli.test_inspect import run
from tests.disk.images import MIB, allocated, converted, left_behind, raw, same
from tests.imageserver import ImageServer, fault_server, image_server

IMPORT = [sys.executable, "-c", "from cli.transfer import import_command; import_command()"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageServer]:
    folder = tmp_path_factory.mktemp("images")
    root = folder / "root"
    root.mkdir()
    converted(raw(root / "disk.raw"), root / "disk.qcow2", "qcow2", "-c")
    (root / "large.raw").write_bytes(os.urandom(128 * MIB))
    with image_server(root, folder / "nginx") as server:
        yield server


def imported(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*IMPORT, *map(str, arguments)], check=False, capture_output=True, text=True, timeout=120
    )


def test_imports_into_a_file_and_tells_all_in_one_json_object(images: ImageServer, tmp_path: Path) -> None:
    done = imported(images.url("disk.qcow2"), tmp_path / "my.img", "--json", "--digest", "sha256")

    body = (images.root / "disk.qcow2").read_bytes()
    said = json.loads(done.stdout)
    assert done.returncode == 0
    assert said == {
        "source": images.url("disk.qcow2"),
        "format": "qcow2",
        "virtualSize": 24 * MIB,
        "bytesFetched": len(body),
        "bytesWritten": said["bytesWritten"],
        "digest": f"sha256:{hashlib.sha256(body).hexdigest()}",
        "seconds": said["seconds"],
    }
    assert 0 < said["bytesWritten"] < 8 * MIB
    assert said["seconds"] > 0
    assert same(images.root / "disk.raw", tmp_path / "my.img")
    assert allocated(tmp_path / "my.img") < 8 * MIB


def test_imports_into_a_folder_from_a_local_file_and_grows_the_disk(
    images: ImageServer, tmp_path: Path
) -> None:
    done = imported(images.root / "disk.qcow2", tmp_path, "--size", "1Gi")

    assert done.returncode == 0
    assert (tmp_path / "disk.img").stat().st_size == 1 << 30
    assert done.stdout.startswith("qcow2, 24.0 MiB, ")
    assert "complete 100.0%" in done.stderr


def test_the_digest_is_of_the_asked_algorithm(images: ImageServer, tmp_path: Path) -> None:
    promised = (
        "md5:" + hashlib.md5((images.root / "disk.raw").read_bytes(), usedforsecurity=False).hexdigest()
    )

    done = imported(
        images.url("disk.raw"), tmp_path / "d", "--checksum", promised.upper().replace("MD5", "md5"), "--json"
    )

    assert json.loads(done.stdout)["digest"] == promised


@pytest.mark.parametrize(
    ("path", "options", "code", "words"),
    [
        ("disk.raw", ["--checksum", "sha1:" + "0" * 40], 3, "checksum mismatch: expected sha1:000"),
        ("disk.raw", ["--checksum", "sha1"], 3, "expected 'algorithm:hash'"),
        ("disk.raw", ["--size", "8Mi"], 3, "larger than the reported available storage 8388608"),
        ("none", [], 3, "got 404"),
        ("broken/", [], 4, "got 503"),
    ],
)
def test_refusals_are_told_in_a_line_or_two(
    images: ImageServer, tmp_path: Path, path: str, options: list[str], code: int, words: str
) -> None:
    done = imported(images.url(path), tmp_path / "disk.img", *options, "--json")

    errors = [line for line in done.stderr.splitlines() if line.startswith("diskyard: ")]
    assert done.returncode == code
    assert words in errors[0]
    assert done.stdout == ""
    assert left_behind(tmp_path) == []


def test_a_folder_that_is_not_there_is_told_before_the_source_is_asked(
    images: ImageServer, tmp_path: Path
) -> None:
    images.forget()

    done = imported(images.url("disk.raw"), tmp_path / "none" / "disk.img")

    assert done.returncode == 3
    assert "expected a directory at" in done.stderr
    assert images.hits() == []


@pytest.mark.parametrize("rest", [(), ("disk.img", "--size", "large")])
def test_what_cannot_be_read_is_a_usage_error(rest: tuple[str, ...]) -> None:
    assert imported("http://x/", *rest).returncode == 2


def test_never_replaces_a_file_that_is_there(images: ImageServer, tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_text("precious")

    done = imported(images.url("disk.raw"), tmp_path / "disk.img")

    assert done.returncode == 3
    assert "is there already" in done.stderr
    assert (tmp_path / "disk.img").read_text() == "precious"


def test_ctrl_c_keeps_what_is_here_and_the_same_command_goes_on(images: ImageServer, tmp_path: Path) -> None:
    command = [*IMPORT, images.url("slow/large.raw"), str(tmp_path / "disk.img"), "--json"]
    first = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    eventually(
        lambda: (tmp_path / ".disk.img.part").exists() and allocated(tmp_path / ".disk.img.part") > 48 * MIB,
        60,
    )
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=120)

    second = imported(*command[len(IMPORT) :])

    assert first.returncode == 130
    assert "run the same command again" in said
    assert json.loads(second.stdout)["bytesFetched"] <= (128 - 48 + 24) * MIB
    assert (tmp_path / "disk.img").read_bytes() == (images.root / "large.raw").read_bytes()


def test_a_terminal_gets_a_bar(images: ImageServer, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [*IMPORT, images.url("disk.qcow2"), str(tmp_path / "disk.img")]

    done = subprocess.run(command, check=True, stderr=theirs, stdout=subprocess.PIPE, timeout=60)
    os.close(theirs)
    said = b""
    while chunk := _read(ours):
        said += chunk
    os.close(ours)

    assert b"complete" in said
    assert b"100.0%" in said
    assert b"qcow2" in done.stdout


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 4096)
    except OSError:  # EIO: the other end is closed
        return b""


def test_help_documents_the_exit_codes() -> None:
    said = imported("--help").stdout

    for line in ("0    done", "3    this can never work as asked", "4    this may work"):
        assert line in said


def test_a_header_and_an_authority_of_ones_own(images: ImageServer, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with fault_server((images.root / "disk.qcow2").read_bytes(), tls=context) as server:
        url, target = server.url().replace("http:", "https:"), tmp_path / "disk.img"
        assert imported(url, target).returncode == 3

        asked = ("--ca", tmp_path / "ca.pem", "--header", "X-Token: secret", "--user", "ann:secret")
        done = imported(url, target, *asked)
        seen = run("inspect", url, *asked, "-o", "json")

        assert done.returncode == 0, done.stderr
        assert json.loads(seen.stdout)["importable"], seen.stderr
        basic = "Basic " + base64.b64encode(b"ann:secret").decode()
        assert {(hit["x-token"], hit["authorization"]) for hit in server.seen} == {("secret", basic)}
        assert imported(url, tmp_path / "other.img", "--insecure").returncode == 0


def test_a_proxy_of_the_environment_is_asked_but_for_hosts_that_bypass_it(
    images: ImageServer, tmp_path: Path
) -> None:
    with fault_server(bytes(4096)) as proxy:
        env = os.environ | {"http_proxy": f"http://127.0.0.1:{proxy.port}", "no_proxy": "127.0.0.0/8"}
        for source, target in (
            ("http://images.invalid/x", "far.img"),
            (images.url("disk.qcow2"), "near.img"),
        ):
            subprocess.run(
                [*IMPORT, source, tmp_path / target], check=True, env=env, capture_output=True, timeout=120
            )

    assert {hit["path"] for hit in proxy.seen} == {"http://images.invalid/x"}
    assert same(images.root / "disk.raw", tmp_path / "near.img")
