"""S3: Swift refuses what S3 refuses, moto knows versions, a lying server does the rest."""

import hashlib
import os
import ssl
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trustme

from diskyard.api.job import ImportJob
from diskyard.disk.target import Target
from diskyard.errors import (
    AccessDenied,
    DiskyardError,
    InvalidRequest,
    SourceChanged,
    SourceMissing,
    SourceUnavailable,
)
from importer.request import Access
from importer.retry import Retrying
from importer.s3 import Login, Place, S3Source, place
from importer.s3_errors import refusal
from importer.transfer import transfer
from tests.builders import eventually
from tests.disk.images import MIB, converted, left_behind, raw, same
from tests.disk.source_suite import BODY, span
from tests.imageserver import Exchange, ImageServer, cut, fault_server, status
from tests.importer.conftest import Pod
from tests.importer.stores import BUCKET, OWNER, SECRET, USER, S3Store
from tests.importer.test_pod import journalled

NOBODY = Login(anonymous=True)
CHUNK = 5 * MIB


def opened(url: str, login: Login = OWNER, region: str = "") -> S3Source:
    return S3Source(place(url), login, Access(), region)


def denied(code: str, message: str = "no") -> bytes:
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


AMAZON = "amazonaws.com"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://b/k/x y.img", Place("b", "k/x y.img")),
        ("S3://b/k?versionId=v7", Place("b", "k", "v7")),
        ("https://minio.example:9000/b/k%20y", Place("b", "k y", "", "https://minio.example:9000")),
        ("http://h/b/k?versionId=v", Place("b", "k", "v", "http://h")),
        (f"https://s3.{AMAZON}/b/k", Place("b", "k")),
        (f"https://s3.us-west-2.{AMAZON}/b/k", Place("b", "k", region="us-west-2")),
        (f"https://s3-us-west-2.{AMAZON}/b/k", Place("b", "k", region="us-west-2")),
        (f"https://s3.dualstack.eu-north-1.{AMAZON}/b/k", Place("b", "k", region="eu-north-1")),
        (f"http://my.b.s3.us-gov-west-1.{AMAZON}/k/l", Place("my.b", "k/l", region="us-gov-west-1", tls=False)),
        (f"https://bkt.s3.cn-north-1.{AMAZON}.cn/k", Place("bkt", "k", region="cn-north-1")),
        ("https://s3.fr-par.scw.cloud/b/k", Place("b", "k", "", "https://s3.fr-par.scw.cloud", "fr-par")),
        ("https://s3.example.com/b/k", Place("b", "k", "", "https://s3.example.com")),
        (f"https://s3.evil.{AMAZON}.example/b/k", Place("b", "k", "", f"https://s3.evil.{AMAZON}.example", "evil")),
    ],
)  # fmt: skip
def test_a_url_names_a_place(url: str, expected: Place) -> None:
    assert place(url) == expected


@pytest.mark.parametrize("url", ["s3://", "s3://b", "s3://b/", "https://h/b", "s3://arn:aws:s3:::x/k"])
def test_a_url_that_names_no_object_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match="does not name an object"):
        place(url)


@pytest.mark.parametrize(
    ("url", "login", "kind", "words"),
    [
        ("{endpoint}/images/none", OWNER, SourceMissing, "no such key.*upper and lower case"),
        ("{endpoint}/nowhere/none", OWNER, SourceMissing, "no such bucket. Correct its name, or the endpoint"),
        ("{endpoint}/images/k", Login(USER, "wrong"), AccessDenied, r"Correct the secret key \(secretKey\)"),
        ("{endpoint}/images/k", Login("nobody", SECRET), AccessDenied, "status 403"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_to_change(
    swift: S3Store, url: str, login: Login, kind: type[DiskyardError], words: str
) -> None:
    swift.put(b"x", "k")

    with pytest.raises(kind, match=words):
        opened(url.format(endpoint=swift.endpoint), login)


@pytest.mark.parametrize(
    ("code", "http", "kind", "words"),
    [
        ("InvalidAccessKeyId", 403, AccessDenied, "accessKeyId"),
        ("ExpiredToken", 400, AccessDenied, "session token has expired. Get fresh"),
        ("AccessDenied", 403, AccessDenied, "s3:GetObject"),
        ("RequestTimeTooSkewed", 403, SourceUnavailable, r"clock.*\(NTP\)"),
        ("InvalidObjectState", 403, InvalidRequest, "archived. Restore it"),
        ("NoSuchVersion", 404, SourceMissing, "versionId"),
        ("MethodNotAllowed", 405, SourceMissing, "was deleted"),
        ("PreconditionFailed", 412, SourceChanged, "starts over"),
        ("PermanentRedirect", 301, InvalidRequest, "another region: it is eu-west-3. Give.*--region"),
        ("SlowDown", 503, SourceUnavailable, "tried again"),
        ("RequestTimeout", 400, SourceUnavailable, "tried again"),
        ("NotImplemented", 501, InvalidRequest, "does not take this request"),
        ("", 404, SourceMissing, "no such thing"),
        ("", 401, AccessDenied, "other"),
        ("", 502, SourceUnavailable, "in trouble"),
    ],
)
def test_a_code_means(code: str, http: int, kind: type[DiskyardError], words: str) -> None:
    headers = {"x-amz-bucket-region": "eu-west-3"}
    response = {
        "Error": {"Code": code, "Message": "said so."},
        "ResponseMetadata": {"HTTPStatusCode": http, "HTTPHeaders": headers},
    }

    with pytest.raises(kind, match=words):
        raise refusal(response, "s3://b/k", signed=True)


@pytest.mark.parametrize(
    ("code", "said", "after"), [("SlowDown", {}, 1.0), ("Busy", {"Retry-After": "9"}, 9.0)]
)
def test_a_busy_server_says_for_how_long(code: str, said: dict[str, str], after: float) -> None:
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 503, "HTTPHeaders": said}}

    error = refusal(answer, "s3://b/k", signed=True)

    assert isinstance(error, SourceUnavailable)
    assert error.after == after


def test_an_object_that_is_not_public_asks_for_credentials() -> None:
    with (
        fault_server(b"x", status(403, denied("AccessDenied"))) as server,
        pytest.raises(AccessDenied, match=r"s3://b/k at 127.0.0.1:\d+: it is not public. Give credentials"),
    ):
        opened(server.url("b/k"), NOBODY)


def test_a_public_object_is_asked_for_without_a_signature() -> None:
    with fault_server(BODY) as server, closing(opened(server.url("b/k"), NOBODY)) as source:
        assert span(source, 0, 100) == BODY[:100]

        assert [hit["path"] for hit in server.seen] == ["/b/k"]
        assert "authorization" not in server.seen[0]
        assert server.seen[0]["range"] == "bytes=0-"


def test_a_session_token_goes_with_the_keys() -> None:
    with fault_server(BODY) as server, closing(opened(server.url("b/k"), Login("AKIA", "s", "token"))):
        assert server.seen[0]["x-amz-security-token"] == "token"
        assert "Credential=AKIA/" in server.seen[0]["authorization"]


def test_the_server_may_name_another_region(swift: S3Store) -> None:
    with closing(opened(swift.url(swift.put(BODY)), region="eu-west-1")) as source:
        assert source.size == len(BODY)


def test_an_object_that_is_overwritten_is_never_mixed(swift: S3Store) -> None:
    key = swift.put(BODY)
    with closing(opened(swift.url(key))) as source:
        assert span(source, 0, 100) == BODY[:100]
        swift.put(BODY[::-1], key)

        with pytest.raises(SourceChanged, match="has changed while it was read"):
            span(source, 3 * MIB, 100)


def test_a_server_that_ignores_the_precondition_is_found_out() -> None:
    with fault_server(BODY) as server, closing(opened(server.url("b/k"), NOBODY)) as source:
        server.etag = '"v2"'

        with pytest.raises(SourceChanged, match='expected version "v1", found "v2"'):
            span(source, 3 * MIB, 100)


def test_a_server_that_answers_with_other_bytes_is_found_out() -> None:
    def wrong(exchange: Exchange) -> None:
        exchange.answer(206, {"ETag": '"v1"', "Content-Range": f"bytes 7-9/{len(BODY)}"}, BODY[7:10])

    with fault_server(BODY) as server, closing(opened(server.url("b/k"), NOBODY)) as source:
        server.faults = [wrong]

        with pytest.raises(SourceUnavailable, match="expected Content-Range from 3145728"):
            span(source, 3 * MIB, 100)


def test_a_version_is_read_although_a_newer_one_is_there(moto: S3Store) -> None:
    versions = {"Status": "Enabled"}
    moto.client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration=versions)
    first = moto.client.put_object(Bucket=BUCKET, Key="k", Body=b"first")["VersionId"]
    moto.client.put_object(Bucket=BUCKET, Key="k", Body=b"second")

    with (
        closing(opened(f"{moto.url('k')}?versionId={first}")) as old,
        closing(opened(moto.url("k"))) as now,
    ):
        assert (span(old, 0, 100), span(now, 0, 100)) == (b"first", b"second")
        assert first in (old.validator or "")
        assert old.validator != now.validator


def test_goes_on_after_a_broken_connection() -> None:
    with fault_server(BODY, cut(1_000_000)) as server:
        with closing(Retrying(opened(server.url("b/k"), NOBODY), wait=lambda _: None)) as source:
            assert span(source, 0, CHUNK) + span(source, CHUNK, CHUNK) == BODY

        assert {hit.get("if-match") for hit in server.seen[1:]} == {'"v1"'}


def test_closing_ends_a_read_that_waits() -> None:
    stalled, released = threading.Event(), threading.Event()

    def stall(exchange: Exchange) -> None:
        exchange.ranged(stop=1000)
        exchange.handler.wfile.flush()
        stalled.set()
        released.wait(60)

    with fault_server(BODY, stall) as server, ThreadPoolExecutor(1) as threads:
        source = opened(server.url("b/k"), NOBODY)
        reading = threads.submit(span, source, 0, CHUNK)
        assert stalled.wait(20)
        source.close()

        assert isinstance(reading.exception(10), SourceUnavailable)
        released.set()


def test_no_redirect_leads_to_another_host() -> None:
    with fault_server(BODY) as elsewhere, fault_server(BODY) as server:
        server.faults = [status(307, Location=elsewhere.url("b/k"))]

        with pytest.raises(InvalidRequest, match="another region"):
            opened(server.url("b/k"), Login("AKIA", "secret"))

        assert elsewhere.seen == []


def test_addresses_that_nobody_means_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="metadata service"):
        opened("http://169.254.169.254/latest/meta-data")


def test_nobody_at_the_port_may_be_there_later() -> None:
    with fault_server(b"") as server:
        url = server.url("b/k")

    with pytest.raises(SourceUnavailable, match=r"cannot reach s3://b/k at 127\.0\.0\.1"):
        opened(url)


def test_a_proxy_is_asked_for_the_object() -> None:
    with fault_server(BODY) as proxy:
        access = Access(proxies={"http": f"http://127.0.0.1:{proxy.port}"})

        with closing(S3Source(place("http://store.invalid/b/k"), NOBODY, access)) as source:
            assert span(source, 0, 10) == BODY[:10]

        assert proxy.seen[0]["path"] == "http://store.invalid/b/k"


def test_a_private_authority_is_trusted_when_it_is_given(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with fault_server(BODY, tls=context) as server:
        where = place(f"https://127.0.0.1:{server.port}/b/k")

        for access in (Access(ca_dir=str(tmp_path)), Access(insecure=True)):
            with closing(S3Source(where, NOBODY, access)) as source:
                assert span(source, 0, 100) == BODY[:100]

        with pytest.raises(InvalidRequest, match=r"not trusted.*certConfigMap"):
            S3Source(where, NOBODY, Access())


def test_a_qcow2_becomes_the_same_disk(swift: S3Store, tmp_path: Path) -> None:
    disk = raw(tmp_path / "disk.raw")
    image = converted(disk, tmp_path / "disk.qcow2", "qcow2", "-c").read_bytes()
    checksum = f"sha256:{hashlib.sha256(image).hexdigest()}"
    job = ImportJob("s3", swift.url(swift.put(image)), checksum=checksum, access_key=USER, secret_key=SECRET)

    result = transfer(job, Target(tmp_path / "disk.img"))

    assert (result.format, result.digest) == ("qcow2", checksum)
    assert same(disk, tmp_path / "disk.img")


def test_after_kill_9_the_rest_is_fetched(images: ImageServer, pod: Pod) -> None:
    body = os.urandom(120 * MIB)
    (images.root / "object.raw").write_bytes(body)
    job = ImportJob("s3", images.url("slow/object.raw"), anonymous=True)
    process = pod.start(job)
    eventually(lambda: journalled(pod) >= 32 * MIB, 60)
    process.kill()
    process.communicate()

    ended = pod.run(job)

    assert ended.code == 0
    assert ended.message.bytes_fetched <= len(body) - 32 * MIB + MIB
    assert pod.disk.read_bytes() == body


def test_an_object_that_changes_between_two_runs_starts_clean(images: ImageServer, pod: Pod) -> None:
    path = images.root / "changing-object.raw"
    path.write_bytes(b"A" * (120 * MIB))
    job = ImportJob("s3", images.url("slow/changing-object.raw"), anonymous=True)
    process = pod.start(job)
    eventually(lambda: journalled(pod) >= 32 * MIB, 60)
    process.kill()
    process.communicate()
    path.write_bytes(b"B" * (40 * MIB))

    ended = pod.run(job)

    assert ended.code == 0
    assert "the source has changed" in ended.log
    assert pod.disk.read_bytes() == b"B" * (40 * MIB)


def test_the_pod_says_which_source_it_could_not_reach(swift: S3Store, pod: Pod) -> None:
    ended = pod.run(ImportJob("s3", swift.url("none"), access_key=USER, secret_key=SECRET))

    assert (ended.code, ended.message.reason) == (3, "SourceMissing")
    assert ended.message.message.startswith(
        "Unable to connect to s3 data source: cannot read s3://images/none"
    )
    assert left_behind(pod.volume) == []


@pytest.mark.parametrize(
    ("env", "signed"),
    [
        ({"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "s"}, True),
        ({"AWS_CONFIG_FILE": "{folder}/config"}, True),
        ({}, False),
    ],
)
def test_credentials_may_come_from_environment_and_profile(
    pod: Pod, env: Mapping[str, str], signed: bool
) -> None:
    profile = "[default]\naws_access_key_id = AKIAENV\naws_secret_access_key = s\n"
    (pod.folder / "config").write_text(profile)
    told = {name: text.format(folder=pod.folder) for name, text in env.items()}
    with fault_server(bytes(MIB)) as server:
        assert pod.run(ImportJob("s3", server.url("b/k")), **told).code == 0

        assert ["Credential=AKIAENV/" in hit.get("authorization", "") for hit in server.seen] == [signed]


@pytest.mark.parametrize(("env", "asked"), [({}, False), ({"AWS_EC2_METADATA_DISABLED": "false"}, True)])
def test_the_instances_role_is_used_only_where_someone_says_so(
    pod: Pod, env: dict[str, Any], asked: bool
) -> None:
    with fault_server(bytes(MIB)) as server, fault_server(b"") as metadata:
        told = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.url(""), "HOME": str(pod.folder), **env}

        assert pod.run(ImportJob("s3", server.url("b/k")), **told).code == 0

        assert bool(metadata.seen) == asked
