"""`diskyard import s3://...` and `gs://...`, on servers that are neither Amazon's nor Google's."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_import import IMPORT
from tests.disk.images import converted, raw, same
from tests.imageserver import fault_server
from tests.importer.google import google
from tests.importer.stores import BUCKET, SECRET, USER, S3Store, swift_store

KEYS = {"AWS_ACCESS_KEY_ID": USER, "AWS_SECRET_ACCESS_KEY": SECRET}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Store]:
    with swift_store(tmp_path_factory.mktemp("swift")) as store:
        yield store


def imported(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    command = [*IMPORT, *map(str, arguments)]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=120, env=os.environ | env
    )


def inspected(*arguments: object, **env: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "cli", "inspect", *map(str, arguments), "-o", "json"]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=120, env=os.environ | env
    )
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_an_object_becomes_a_disk(store: S3Store, tmp_path: Path) -> None:
    disk = raw(tmp_path / "disk.raw")
    store.put(converted(disk, tmp_path / "a", "qcow2").read_bytes(), "golden/my disk.qcow2")
    source = f"s3://{BUCKET}/golden/my disk.qcow2"

    done = imported(source, tmp_path / "out.img", "--endpoint-url", store.endpoint, **KEYS)
    seen = inspected(source, "--endpoint-url", store.endpoint, **KEYS)

    assert done.returncode == 0, done.stderr
    assert same(disk, tmp_path / "out.img")
    assert (seen["format"], seen["virtualSize"], seen["resumable"]) == ("qcow2", disk.stat().st_size, True)


def test_the_endpoint_may_come_from_the_environment(store: S3Store, tmp_path: Path) -> None:
    store.put(bytes(4096), "k")

    done = imported(f"s3://{BUCKET}/k", tmp_path / "out.img", AWS_ENDPOINT_URL=store.endpoint, **KEYS)

    assert done.returncode == 0, done.stderr


def test_a_region_is_corrected_and_nobody_is_refused(store: S3Store, tmp_path: Path) -> None:
    store.put(bytes(4096), "k")
    asked = (f"s3://{BUCKET}/k", "--endpoint-url", store.endpoint, "--region", "eu-west-1")

    somebody = imported(*asked, tmp_path / "one.img", **KEYS)
    nobody = imported(*asked, tmp_path / "two.img", "--anonymous", **KEYS)

    assert (somebody.returncode, nobody.returncode) == (0, 3)


def test_keys_may_be_given_by_hand(tmp_path: Path) -> None:
    with fault_server(bytes(4096)) as server:
        endpoint = f"http://127.0.0.1:{server.port}"
        imported("s3://b/k", tmp_path / "out.img", "--endpoint-url", endpoint, "--user", "AKIA:secret")

        assert "Credential=AKIA/" in server.seen[0]["authorization"]


def test_a_google_object_becomes_a_disk(tmp_path: Path) -> None:
    with google(b"disk" * 4096) as server:
        asked = ("--endpoint-url", server.endpoint, "--anonymous")
        done = imported("gs://bucket/a disk", tmp_path / "out.img", *asked)
        assert inspected("gs://bucket/a disk", *asked)["size"] == 4 * 4096

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.img").read_bytes() == b"disk" * 4096


def test_an_endpoint_for_another_kind_of_source_is_a_mistake(tmp_path: Path) -> None:
    done = imported("http://h/x", tmp_path / "out.img", "--endpoint-url", "http://h")

    assert done.returncode == 2
    assert "--endpoint-url goes with s3:// and gs://" in done.stderr
