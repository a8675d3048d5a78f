"""The command's client before servers that are not what they should be."""

from contextlib import closing
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from cli.tusclient import Client, File, Proxy
from cli.way import Way
from diskyard.errors import AccessDenied, SourceUnavailable
from diskyard.web import server, tls
from tests.uploadproxy.line import Line


def sending(url: str, folder: Path) -> Client:
    """An upload of one byte; a try, and one more."""
    image = folder / "image"
    image.write_bytes(b"x")
    return Client(Proxy(Way(url, verify=True), lambda: "token"), File(image, 1, "x"), 1)


def test_a_certificate_that_nobody_vouches_for_is_told_at_once(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("127.0.0.1")
    pair = tls.Pair(tmp_path / "tls.crt", tmp_path / "tls.key")
    issued.private_key_pem.write_to_path(pair.key)
    issued.cert_chain_pems[0].write_to_path(pair.certificate)
    running = server.start(web.Application(), server.Place("127.0.0.1", tls=tls.context(pair)))

    with (
        closing(sending(running.url, tmp_path)) as client,
        pytest.raises(AccessDenied, match="is not trusted"),
    ):
        client.send(lambda _: None)

    running.stop()


def test_a_line_that_breaks_in_the_handshake_is_no_matter_of_trust(tmp_path: Path) -> None:
    silent = server.start(web.Application(), server.Place("127.0.0.1"))
    with closing(Line("127.0.0.1", silent.port)) as line:
        line.at(1, line.cut)
        line.at(2, line.cut)

        with (
            closing(sending(line.url, tmp_path)) as client,
            pytest.raises(SourceUnavailable, match="does not answer"),
        ):
            client.send(lambda _: None)

    silent.stop()


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({"state": "uploading"}, ""),
        ({"state": "processing"}, ""),
        ({"state": "succeeded"}, ""),
        ({"state": "failed", "message": "it is a web page"}, "it is a web page"),
        ({"state": "waiting"}, "told"),
    ],
)
def test_a_failure_that_is_an_earlier_uploads_is_not_taken_for_this_ones(
    tmp_path: Path, state: dict[str, str], why: str
) -> None:
    async def states(_: web.Request) -> web.Response:
        return web.json_response(state, headers={"Tus-Resumable": "1.0.0"})

    app = web.Application()
    app.router.add_get("/v1/uploads", states)
    running = server.start(app, server.Place("127.0.0.1"))

    with closing(sending(running.url, tmp_path)) as client:
        assert client.failed("told") == why

    running.stop()
