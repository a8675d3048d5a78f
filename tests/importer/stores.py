"""Object stores to read from: Swift's S3 API, moto and Google's emulator, each on loopback for one test session."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import boto3
from botocore.config import Config
from gcp_storage_emulator.handlers.buckets import create_bucket
from gcp_storage_emulator.server import RequestHandler
from gcp_storage_emulator.storage import Storage
from moto.server import ThreadedMotoServer

from importer.s3 import Login

BUCKET = "images"
REGION = "us-east-1"
USER = "test:tester"
SECRET = "testing"
OWNER = Login(USER, SECRET)
_EMPTY = (
    b'--x\r\nContent-Type: application/json\r\n\r\n{"name": "%s"}\r\n'
    b"--x\r\nContent-Type: application/octet-stream\r\n\r\n\r\n--x--\r\n"
)


class Quiet(ThreadingHTTPServer):
    """A server whose clients may hang up."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """That is part of the test."""


@dataclass
class S3Store:
    """A server with one bucket."""

    endpoint: str
    client: Any
    numbers: Iterator[int] = field(default_factory=count)

    def url(self, key: str) -> str:
        return f"{self.endpoint}/{BUCKET}/{quote(key)}"

    def put(self, body: bytes, key: str = "") -> str:
        """An object's key: a new one where none is given."""
        key = key or f"disks/some disk {next(self.numbers)}.img"
        self.client.put_object(Bucket=BUCKET, Key=key, Body=body)
        return key


@contextmanager
def swift_store(folder: Path) -> Iterator[S3Store]:
    """Refuses wrong secrets and wrong regions."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.swift", str(folder), REGION, USER, SECRET]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            port = int(process.stdout.readline())
            with _store(f"http://127.0.0.1:{port}") as store:
                yield store
        finally:
            process.terminate()


@contextmanager
def moto_store() -> Iterator[S3Store]:
    """Knows versions, and takes any credentials."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        with _store(f"http://127.0.0.1:{server.get_host_and_port()[1]}") as store:
            yield store
    finally:
        server.stop()


@contextmanager
def _store(endpoint: str) -> Iterator[S3Store]:
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=USER,
        aws_secret_access_key=SECRET,
        config=Config(s3={"addressing_style": "path"}),
    )
    try:
        client.create_bucket(Bucket=BUCKET)
        yield S3Store(endpoint, client)
    finally:
        client.close()


@dataclass
class GcsStore:
    """An emulator with one bucket."""

    endpoint: str
    numbers: Iterator[int] = field(default_factory=count)

    def url(self, name: str) -> str:
        return f"{self.endpoint}/{BUCKET}/{quote(name)}"

    def put(self, body: bytes, name: str = "") -> str:
        """An object's name: a new one where none is given."""
        name = name or f"disks/some disk {next(self.numbers)}.img"
        if not body:  # which the emulator takes in this form only
            path = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=multipart"
            self._send("POST", path, _EMPTY % name.encode(), "multipart/related; boundary=x")
        else:
            self._send("PUT", f"/{BUCKET}/{quote(name)}", body, "application/octet-stream")
        return name

    def _send(self, method: str, path: str, body: bytes, kind: str) -> None:
        with urlopen(Request(self.endpoint + path, body, {"Content-Type": kind}, method=method)):
            pass


@contextmanager
def gcs_store() -> Iterator[GcsStore]:
    """Takes anyone; knows generations, and no preconditions on them."""
    storage = Storage(use_memory_fs=True)
    create_bucket(BUCKET, storage)
    with Quiet(("127.0.0.1", 0), partial(RequestHandler, storage)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield GcsStore(f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()
