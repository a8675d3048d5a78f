"""Two clients on one upload, and everything that they and the server do, against a model of what must be stored."""

import base64
import hashlib
import os
import socket
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

import requests
from aiohttp import web
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from diskyard import volume
from diskyard.api.names import cdi, upload
from diskyard.api.upload import UploadJob
from diskyard.web import server
from tests.builders import eventually
from tests.uploadproxy.pod import BODY, TUS
from uploadproxy import tus
from uploadproxy.receiver import Receiver
from uploadproxy.session import Place

LENGTH = 300_017
IMAGES = {"one": bytes(512) + os.urandom(LENGTH - 512), "other": bytes(512) + os.urandom(LENGTH - 512)}
"""Each client has bytes of its own: what is stored shows whose."""
CLIENTS = st.sampled_from(sorted(IMAGES))
SIZES = st.sampled_from((1, 10, 5_000, 60_000))


class Uploading(RuleBasedStateMachine):
    """The model is what the server has acknowledged: `stored`, and nothing else.

    Lines break where they break, so `stored` is chance in part: no rule is held back by it, and nothing drawn hangs on
    it, as hypothesis wants of what it replays.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.session = self.stack.enter_context(requests.Session())
        self.session.trust_env = False
        self.stored = b""
        self.path = ""
        self._start()

    def _start(self) -> None:
        """A server that knows nothing but what lies in the volume."""
        target = volume.target(UploadJob(image_size="8Mi").volume, {cdi.ENV_VOLUME_DIR: str(self.folder)})
        self.receiver = Receiver(Place(target), 3600.0, lambda _: None)
        app = web.Application()
        tus.add_routes(app.router, self.receiver, 60.0)
        app.on_shutdown.append(self.receiver.close)
        self.running = server.start(app, server.Place("127.0.0.1", lends=True))

    def teardown(self) -> None:
        """Whatever came before, the rest can be sent, and the disk is what was acknowledged."""
        with self.stack:
            try:
                self.complete()
            finally:
                self.running.stop(0)

    def complete(self) -> None:
        """Send the rest: the disk is what was acknowledged, byte for byte."""
        rest = IMAGES["one"][len(self.stored) :]
        answer = self._patch(len(self.stored), rest)
        assert answer.status_code == 204, answer.text
        eventually(lambda: self.receiver.done, 60)
        disk = (self.folder / "disk.img").read_bytes()
        assert disk[:LENGTH] == self.stored + rest
        assert not any(disk[LENGTH:])

    def _url(self) -> str:
        return self.running.url + self.path

    def _patch(self, offset: int, body: bytes, **headers: str) -> requests.Response:
        given = {**BODY, "Upload-Offset": str(offset), **headers}
        return self.session.patch(self._url(), data=body, headers=given, timeout=60)

    @initialize()
    def begun(self) -> None:
        headers = {**TUS, "Upload-Length": str(LENGTH)}
        answer = self.session.post(self.running.url + upload.UPLOADS, headers=headers, timeout=60)
        self.path = answer.headers["Location"]

    @invariant()
    def head_says_what_is_stored(self) -> None:
        answer = self.session.head(self._url(), headers=TUS, timeout=60)
        assert answer.headers["Upload-Offset"] == str(len(self.stored))

    @rule(who=CLIENTS, size=SIZES)
    def goes_on(self, who: str, size: int) -> None:
        body = self._next(who, size)
        assert self._patch(len(self.stored), body).status_code == 204
        self.stored += body

    @rule(who=CLIENTS, size=SIZES, beside=st.sampled_from((-30_000, -1, 1, 30_000)))
    def goes_on_elsewhere(self, who: str, size: int, beside: int) -> None:
        size, offset = len(self._next(who, size)), len(self.stored) + beside
        if offset >= 0 and offset + size <= LENGTH:
            assert self._patch(offset, IMAGES[who][offset : offset + size]).status_code == 409

    @rule(who=CLIENTS)
    def sends_too_much(self, who: str) -> None:
        body = IMAGES[who][len(self.stored) :] + b"!"
        assert self._patch(len(self.stored), body).status_code == 413

    @rule(who=CLIENTS, size=SIZES, right=st.booleans())
    def promises_a_checksum(self, who: str, size: int, right: bool) -> None:
        body = self._next(who, size)
        said = base64.b64encode(hashlib.sha256(body if right else b"?").digest()).decode()
        answer = self._patch(len(self.stored), body, **{"Upload-Checksum": f"sha256 {said}"})
        assert answer.status_code == (204 if right else 460)
        self.stored += body if right else b""

    @rule(sizes=st.tuples(SIZES, SIZES))
    def both_go_on_at_once(self, sizes: tuple[int, int]) -> None:
        """One of them wins; the other is told so, and nothing of its bytes is stored."""
        if len(self.stored) == LENGTH - 1:
            return
        bodies = [self._next(who, size) for who, size in zip(sorted(IMAGES), sizes, strict=True)]
        codes: dict[int, int] = {}

        def send(number: int) -> None:
            given = {**BODY, "Upload-Offset": str(len(self.stored))}
            with requests.Session() as session:
                session.trust_env = False
                codes[number] = session.patch(
                    self._url(), data=bodies[number], headers=given, timeout=60
                ).status_code

        threads = [threading.Thread(target=send, args=(number,)) for number in range(2)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert sorted(codes.values()) in ([204, 409], [204, 423]), codes
        self.stored += bodies[min(codes, key=lambda number: codes[number])]

    @rule(who=CLIENTS, size=SIZES)
    def line_breaks(self, who: str, size: int) -> None:
        """Of what had been sent, any beginning is stored, and HEAD says which."""
        body = self._next(who, size)
        if len(body) < 2:
            return
        self._send_a_part(body)
        eventually(self._is_free, 60)
        offset = int(self.session.head(self._url(), headers=TUS, timeout=60).headers["Upload-Offset"])
        assert len(self.stored) <= offset < len(self.stored) + len(body)
        self.stored += body[: offset - len(self.stored)]

    def _send_a_part(self, body: bytes) -> None:
        lines = {
            **BODY, "Host": "x", "Upload-Offset": str(len(self.stored)), "Content-Length": str(len(body)),
        }  # fmt: skip
        head = "".join(f"{name}: {text}\r\n" for name, text in lines.items())
        with socket.create_connection((self.running.host, self.running.port), 60) as sock:
            sock.sendall(f"PATCH {self.path} HTTP/1.1\r\n{head}\r\n".encode() + body[: len(body) // 2])
            eventually(self._has_come, 60)

    def _has_come(self) -> bool:
        session = self.receiver.session
        return session is not None and session.received > len(self.stored)

    def _is_free(self) -> bool:
        """Whether nobody writes: who sends too much is told that, and not to wait."""
        return self._patch(LENGTH, b"!").status_code == 413

    @rule()
    def server_is_told_to_stop_and_another_one_comes(self) -> None:
        self.running.stop(0)
        self._start()

    @rule()
    def is_ended_and_begun_anew(self) -> None:
        assert self.session.delete(self._url(), headers=TUS, timeout=60).status_code == 204
        assert self.session.head(self._url(), headers=TUS, timeout=60).status_code == 404
        self.stored = b""
        self.begun()

    def _next(self, who: str, size: int) -> bytes:
        """A client's next bytes; the last byte is kept for the end."""
        start = len(self.stored)
        return IMAGES[who][start : min(LENGTH - 1, start + size)]


TestWhatIsAcknowledgedIsStoredAndNothingElse = Uploading.TestCase
TestWhatIsAcknowledgedIsStoredAndNothingElse.settings = settings(
    max_examples=12, stateful_step_count=15, deadline=None, derandomize=True, database=None,
    phases=(Phase.generate,), suppress_health_check=list(HealthCheck),
)  # fmt: skip
