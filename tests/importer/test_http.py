"""HTTP as a Source: what honest servers do, what others do, and who is told the password."""

import base64
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
import trustme
from botocore.config import Config

from diskyard.api.job import ImportJob
from diskyard.disk.head import fill, read
from diskyard.disk.target import Target
from diskyard.errors import (
    AccessDenied,
    DiskyardError,
    InvalidRequest,
    SourceChanged,
    SourceMissing,
    SourceUnavailable,
)
from importer.address import networks
from importer.http import HttpSource
from importer.request import Access, header_lines, shown
from importer.retry import DELAYS, Retrying, patiently
from importer.transfer import access, transfer
from tests.builders import eventually
from tests.imageserver import Behaviour, Exchange, ImageServer, cut, fault_server, image_server, status
from tests.importer.stores import BUCKET, REGION, SECRET, USER, S3Store

BODY = bytes(range(256)) * 8192
PLAIN = Access()


def whole(url: str, access: Access = PLAIN) -> bytes:
    """All bytes of a URL, by the Source."""
    with closing(Retrying(HttpSource(url, access), wait=lambda _: None)) as source:
        buf = bytearray(len(BODY) + 100)
        return bytes(buf[: fill(source, memoryview(buf), 0)])


def test_the_first_request_is_a_ranged_get(images: ImageServer) -> None:
    images.forget()

    with closing(HttpSource(images.url("disk.raw"), PLAIN)) as source:
        assert source.ranged
        assert source.size == 24 << 20
        assert source.validator

    hits = eventually(images.hits)
    assert [(hit.method, hit.range) for hit in hits] == [("GET", "bytes=0-")]


def test_goes_on_with_if_range_after_a_broken_connection() -> None:
    with fault_server(BODY, cut(500_000), cut(900_000)) as server:
        assert whole(server.url()) == BODY

        starts = [hit["range"].split("-")[0] for hit in server.seen]
        assert starts == ["bytes=0", "bytes=500000", "bytes=900000"]
        assert server.seen[2]["if-range"] == server.etag
        assert eventually(lambda: server.sent == len(BODY))


def test_a_server_that_stays_broken_is_given_up() -> None:
    waits: list[float] = []
    faults = [cut(1000), *[status(503)] * 20]
    with fault_server(BODY, *faults) as server, closing(HttpSource(server.url(), PLAIN)) as source:
        retrying = Retrying(source, wait=waits.append)

        with pytest.raises(SourceUnavailable, match="503"):
            fill(retrying, memoryview(bytearray(5000)), 0)

    assert tuple(waits) == DELAYS


def test_a_source_that_changes_is_never_mixed() -> None:
    def changed(exchange: Exchange) -> None:
        exchange.server.etag = '"v2"'
        exchange.answer(200, {"ETag": '"v2"'}, exchange.server.body)

    with fault_server(BODY, cut(500_000), changed) as server, pytest.raises(SourceChanged, match=r"v1.*v2"):
        whole(server.url())


def test_a_server_that_answers_with_other_bytes_is_found_out() -> None:
    def wrong(exchange: Exchange) -> None:
        size = len(BODY)
        exchange.answer(206, {"ETag": '"v1"', "Content-Range": f"bytes 7-{size - 1}/{size}"}, BODY[7:])

    refusal = pytest.raises(SourceUnavailable, match="Content-Range from 500000")
    with fault_server(BODY, cut(500_000), *[wrong] * 9) as server, refusal:
        whole(server.url())


def test_a_206_without_a_content_range_is_refused() -> None:
    with (
        fault_server(BODY, status(206, b"x")) as server,
        pytest.raises(SourceUnavailable, match="FIRST-LAST/SIZE"),
    ):
        whole(server.url())


def test_a_plain_server_without_ranges_is_read_in_one_go() -> None:
    with fault_server(BODY, lambda exchange: exchange.whole()) as server:
        assert whole(server.url()) == BODY
        assert len(server.seen) == 1


def test_a_chunked_answer_of_unknown_length_is_read_to_its_end() -> None:
    def chunked(exchange: Exchange) -> None:
        exchange.handler.protocol_version = "HTTP/1.1"
        exchange.handler.send_response(200)
        exchange.handler.send_header("Transfer-Encoding", "chunked")
        exchange.handler.end_headers()
        exchange.handler.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY))
        exchange.handler.close_connection = True

    with fault_server(BODY, chunked) as server:
        assert whole(server.url()) == BODY


def test_without_ranges_a_broken_connection_says_that_it_starts_over() -> None:
    def short(exchange: Exchange) -> None:
        exchange.answer(200, {}, BODY[:1000], len(BODY))

    with (
        fault_server(BODY, short) as server,
        pytest.raises(SourceUnavailable, match="broke off at byte 1000"),
    ):
        whole(server.url())


@pytest.mark.parametrize("tag", ['W/"v1"', ""])
def test_a_weak_validator_is_none(tag: str) -> None:
    with fault_server(BODY, lambda exchange: exchange.ranged(ETag=tag)) as server:
        server.etag = tag
        with closing(HttpSource(server.url(), PLAIN)) as source:
            assert source.validator is None


def test_a_source_that_is_busy_at_first_is_left_alone_for_as_long_as_it_says() -> None:
    waits: list[float] = []
    with fault_server(BODY, status(503, Retry_After="7"), status(429)) as server:
        source = patiently(lambda: HttpSource(server.url(), PLAIN), waits.append)
        with closing(source):
            assert read(source, 0, 10) == BODY[:10]

    assert waits == [7.0, 3.0]


@pytest.mark.parametrize("fault", [status(503), status(503, Retry_After="86400"), status(404)])
def test_a_source_that_does_not_say_when_it_will_be_back_is_given_up_at_once(fault: Behaviour) -> None:
    waits: list[float] = []
    with fault_server(BODY, fault) as server, pytest.raises(DiskyardError):
        patiently(lambda: HttpSource(server.url(), PLAIN), waits.append)

    assert waits == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (404, SourceMissing), (410, SourceMissing), (401, AccessDenied), (403, AccessDenied),
        (400, InvalidRequest), (429, SourceUnavailable), (500, SourceUnavailable), (503, SourceUnavailable),
    ],
)  # fmt: skip
def test_a_status_means(code: int, kind: type[DiskyardError]) -> None:
    refusal = pytest.raises(kind, match=f"expected status code 200, got {code}. Status: {code}")
    with fault_server(BODY, status(code)) as server, refusal:
        whole(server.url())


def test_nobody_at_the_port_may_be_there_later() -> None:
    with fault_server(BODY) as server:
        url = server.url()

    with pytest.raises(SourceUnavailable, match="cannot reach"):
        whole(url)


def test_an_unknown_host_is_said(images: ImageServer) -> None:
    with pytest.raises(SourceUnavailable, match="no such host"):
        whole("http://no-such-host.invalid/disk.img")


@pytest.mark.parametrize("url", ["ftp://x/y", "http://", "http://a b/", "http://h:99999/x", "disk.img"])
def test_a_bad_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest):
        whole(url)


def test_basic_auth_and_headers_reach_the_origin(images: ImageServer) -> None:
    with closing(HttpSource(images.url("private/disk.raw"), Access(user="ann", password="secret"))) as source:
        assert source.size == 24 << 20

    with pytest.raises(AccessDenied, match="401"):
        HttpSource(images.url("private/disk.raw"), PLAIN)


def test_a_job_says_all_of_how_its_source_is_asked() -> None:
    job = ImportJob(
        "http", "https://images.example/", access_key="ann", secret_key="secret", extra_headers=("A: b",),
        cert_dir="/certs", insecure_tls=True, http_proxy="http://p:1", https_proxy="http://q:2", no_proxy="near",
        allow_addresses="169.254.1.0/24",
    )  # fmt: skip

    assert access(job) == Access(
        "ann", "secret", (("A", "b"),), "/certs", insecure=True, no_proxy="near",
        proxies={"http": "http://p:1", "https": "http://q:2"}, allowed=networks("169.254.1.0/24"),
    )  # fmt: skip


def test_a_presigned_link_that_opens_for_get_alone_is_enough(swift: S3Store, tmp_path: Path) -> None:
    asked = {"Bucket": BUCKET, "Key": swift.put(BODY)}
    signing = {
        "endpoint_url": swift.endpoint,
        "region_name": REGION,
        "config": Config(signature_version="s3v4"),
    }
    with closing(
        boto3.client("s3", aws_access_key_id=USER, aws_secret_access_key=SECRET, **signing)
    ) as client:
        link = client.generate_presigned_url("get_object", Params=asked, ExpiresIn=600)

    transfer(ImportJob("http", link), Target(tmp_path / "disk.img"))

    right = (tmp_path / "disk.img").read_bytes() == BODY
    assert right
    assert requests.head(link, timeout=60).status_code == 403


def test_credentials_never_leave_the_origin() -> None:
    access = Access(user="ann", password="secret", headers=header_lines(["X-Token: abc"]))
    with fault_server(BODY) as elsewhere, fault_server(BODY) as origin:
        origin.faults = [status(302, Location="/next"), status(307, Location=elsewhere.url("there"))]

        assert whole(origin.url(), access) == BODY

        basic = "Basic " + base64.b64encode(b"ann:secret").decode()
        assert [(hit.get("authorization"), hit.get("x-token")) for hit in origin.seen] == [(basic, "abc")] * 2
        assert [("authorization" in hit, "x-token" in hit) for hit in elsewhere.seen] == [(False, False)]


def test_a_redirect_is_resolved_once_and_again_when_its_link_expires() -> None:
    with fault_server(BODY) as store, fault_server(BODY) as origin:
        origin.faults = [
            status(302, Location=store.url("signed-1")),
            status(302, Location=store.url("signed-2")),
        ]
        store.faults = [cut(500_000), cut(600_000), status(403)]

        assert whole(origin.url()) == BODY

        assert [hit["path"] for hit in store.seen] == ["/signed-1", "/signed-1", "/signed-1", "/signed-2"]
        assert len(origin.seen) == 2


def test_more_than_ten_redirects_are_a_loop() -> None:
    with fault_server(BODY) as server:
        server.faults = [status(302, Location="/again")] * 20

        with pytest.raises(InvalidRequest, match="more than 10 redirects"):
            whole(server.url())

        assert len(server.seen) == 11


def test_a_redirect_to_another_scheme_is_refused() -> None:
    sent_away = status(302, Location="file:///etc/passwd")
    with fault_server(BODY, sent_away) as server, pytest.raises(InvalidRequest, match="scheme"):
        whole(server.url())


def test_messages_show_neither_password_nor_query() -> None:
    assert shown("https://ann:secret@host:8443/a/b?token=abc#x") == "https://host:8443/a/b"


@pytest.mark.parametrize("line", ["no colon", ": no name", "A: b\r\nC: d"])
def test_header_lines_that_are_none(line: str) -> None:
    with pytest.raises(InvalidRequest, match="Name: value"):
        header_lines([line])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[Callable[[], str]]:
    """The URL of an HTTPS server whose certificate a private authority has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def get_request(self) -> Any:
            connection, address = self.socket.accept()
            return context.wrap_socket(connection, server_side=True), address

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield lambda: f"https://127.0.0.1:{server.server_port}/disk.img"
        server.shutdown()
        thread.join()


def test_a_private_authority_is_trusted_when_it_is_given(
    secure: Callable[[], str], authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))

    assert whole(secure(), Access(ca_dir=str(tmp_path))) == BODY


def test_nginx_is_read_over_tls_by_a_private_authority(
    images: ImageServer, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "pair.pem"))
    with image_server(images.root, tmp_path / "nginx", tmp_path / "pair.pem") as secure:
        job = ImportJob(
            "http",
            secure.url("private/disk.qcow2"),
            access_key="ann",
            secret_key="secret",
            cert_dir=str(tmp_path),
        )
        transfer(job, Target(tmp_path / "disk.img"))
        statuses = eventually(lambda: {hit.status for hit in secure.hits()})

    right = (tmp_path / "disk.img").read_bytes() == (images.root / "disk.raw").read_bytes()
    assert right
    assert statuses == {206}


def test_an_unknown_authority_is_refused_with_the_way_out(secure: Callable[[], str]) -> None:
    with pytest.raises(InvalidRequest, match=r"not trusted.*certConfigMap"):
        whole(secure())


def test_verification_can_be_switched_off(secure: Callable[[], str]) -> None:
    assert whole(secure(), Access(insecure=True)) == BODY


def test_a_proxy_is_asked_but_for_hosts_that_bypass_it() -> None:
    with fault_server(BODY) as proxy, fault_server(BODY) as server:
        through = Access(proxies={"http": f"http://bob:pw@127.0.0.1:{proxy.port}"})

        assert whole("http://images.invalid/disk.img", through) == BODY
        assert whole(server.url(), Access(proxies=through.proxies, no_proxy="example.org,127.0.0.1")) == BODY

        assert [hit["path"] for hit in proxy.seen] == ["http://images.invalid/disk.img"]
        assert proxy.seen[0]["proxy-authorization"].startswith("Basic ")
        assert len(server.seen) == 1
