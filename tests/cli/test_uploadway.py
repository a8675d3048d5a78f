"""Which way the command line goes to the upload proxy, and whom it trusts there."""

import random
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from cli import uploadway
from cli.wishes import UploadWish
from diskyard.api.meta import CDI_CONFIG, NAMESPACE, SERVICE, Key
from diskyard.api.names import cdi, upload
from diskyard.errors import InvalidRequest, NotFound
from diskyard.kube.http import HttpClient
from diskyard.web import server, tls
from diskyard.web.server import Running
from tests import builders, served

CLOSED = "https://127.0.0.1:1"
WISH = UploadWish("pvc", "disk", "default", Path("image"))
Listening = Callable[..., Running]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpClient]:
    with served.client(tmp_path_factory.mktemp("served")) as found:
        found.create(NAMESPACE, builders.namespace(cdi.NAMESPACE))
        yield found


@pytest.fixture
def api(cluster: HttpClient) -> Iterator[HttpClient]:
    """A cluster that says nothing of uploads; what a test has it say goes with the test."""
    yield cluster
    for kind, key in ((CDI_CONFIG, Key(cdi.CONFIG_NAME)), (SERVICE, uploadway.PROXY)):
        with suppress(NotFound):
            cluster.delete(kind, key)


@pytest.fixture
def authority() -> trustme.CA:
    """Whom the CDIConfig says to trust."""
    return trustme.CA()


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Listening]:
    """Something that listens as a proxy does, with a certificate for that name."""
    with ExitStack() as stack:

        def start(issuer: trustme.CA, name: str) -> Running:
            issued, pair = issuer.issue_cert(name), tls.Pair(tmp_path / "tls.crt", tmp_path / "tls.key")
            issued.private_key_pem.write_to_path(pair.key)
            issued.cert_chain_pems[0].write_to_path(pair.certificate)
            places = random.Random()
            address = f"127.44.{places.randrange(1, 255)}.{places.randrange(1, 255)}"
            running = server.start(web.Application(), server.Place(address, tls=tls.context(pair)))
            stack.callback(running.stop)
            return running

        yield start


def say(api: HttpClient, url: str, authority: trustme.CA) -> None:
    """Have the CDIConfig say where the proxy is, and whom to trust there."""
    status = {"uploadProxyURL": url, "uploadProxyCA": authority.cert_pem.bytes().decode()}
    api.create(CDI_CONFIG, builders.some(CDI_CONFIG, cdi.CONFIG_NAME, spec={}, status=status))


def serve(api: HttpClient, running: Running) -> None:
    """Have a Service say that the proxy is there."""
    spec = {"clusterIP": "None", "externalIPs": [running.host], "ports": [{"port": running.port}]}
    api.create(SERVICE, builders.some(SERVICE, upload.PROXY, cdi.NAMESPACE, spec=spec))


def test_the_cdiconfigs_word_goes_first(api: HttpClient, listening: Listening, authority: trustme.CA) -> None:
    running = listening(authority, "127.0.0.1")
    elsewhere = listening(authority, running.host)
    say(api, elsewhere.url, authority)
    serve(api, running)

    with uploadway.found(api, WISH) as way:
        assert (way.url, way.host) == (elsewhere.url, "")
        trusted = ssl.create_default_context(cafile=str(way.verify)).get_ca_certs()

    names = [entry[0][1] for each in trusted for entry in each["subject"]]
    assert {"trustme v" + trustme.__version__, "Internet Security Research Group"} <= set(names)


def test_where_that_is_not_reached_the_services_address_is_taken(
    api: HttpClient, listening: Listening, authority: trustme.CA, capsys: pytest.CaptureFixture[str]
) -> None:
    running = listening(authority, uploadway.HOST)
    say(api, CLOSED, authority)
    serve(api, running)

    with uploadway.found(api, WISH) as way:
        assert (way.url, way.host) == (running.url, uploadway.HOST)

    assert f"{CLOSED}: [Errno 111] Connection refused\ngoing by the Service's" in capsys.readouterr().err


def test_a_stranger_at_the_services_address_gets_no_token(
    api: HttpClient, listening: Listening, authority: trustme.CA, capsys: pytest.CaptureFixture[str]
) -> None:
    say(api, CLOSED, authority)
    serve(api, listening(trustme.CA(), uploadway.HOST))

    with uploadway.found(api, WISH) as way:
        assert way.url == CLOSED, "it may come back: what was told is tried"

    assert "unable to get local issuer certificate" in capsys.readouterr().err


def test_where_there_is_none_all_that_was_tried_is_told(api: HttpClient) -> None:
    with (
        pytest.raises(
            InvalidRequest,
            match=r"uploadproxy URL not found: .*services .* not found.* Give --uploadproxy-url",
        ),
        uploadway.found(api, WISH),
    ):
        pass


def test_what_is_named_is_taken_unseen(api: HttpClient) -> None:
    wish = UploadWish("pvc", "disk", "default", Path("image"), url="proxy.example:8443/", insecure=True)

    with uploadway.found(api, wish) as way:
        assert (way.url, way.verify) == ("https://proxy.example:8443", False)
