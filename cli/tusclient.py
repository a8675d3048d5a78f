"""Sends a file by tus, and goes on after whatever happens on the way; by one request to proxies that know no tus."""

import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests

from cli.way import Way, session
from diskyard.api.names import upload
from diskyard.disk.target import Progress
from diskyard.errors import (
    AccessDenied,
    Busy,
    Refused,
    SourceUnavailable,
)

TUS: Final = {"Tus-Resumable": "1.0.0"}
_BLOCK: Final = 1 << 20
_SMALLER: Final = (8 << 20, 1 << 20, 256 << 10)
"""Bytes of a request where something on the way lets no longer ones pass; an Ingress of nginx says 1 MiB by itself."""
_PATIENCE: Final = (10.0, 90.0)
_LONGEST_PAUSE: Final = 20.0
_LATER: Final = (408, 409, 423, 429, 500, 502, 503, 504)
"""Answers after which it is tried again."""


@dataclass(frozen=True)
class File:
    """What is sent."""

    path: Path
    size: int
    fingerprint: str
    """The same text: the same bytes, as far as the file system tells."""
    checksum: str = ""

    @property
    def metadata(self) -> dict[str, str]:
        """What the server keeps with the upload."""
        said = {"filename": self.path.name, "fingerprint": self.fingerprint, "checksum": self.checksum}
        return {name: text for name, text in said.items() if text}


@dataclass(frozen=True)
class Proxy:
    """Where it is sent, and who may."""

    way: Way
    token: Callable[[], str]
    """A fresh one: each lasts five minutes."""

    @property
    def url(self) -> str:
        """Where that is."""
        return self.way.url


class Failed(Refused):
    """The server has looked at the image and does not want it."""

    reason = "UploadRefused"


class Client:
    """One upload of one file."""

    def __init__(self, proxy: Proxy, file: File, retry: int) -> None:
        self._proxy = proxy
        self._file = file
        self._say: Callable[[Progress], None] = _nobody
        self._retry = retry
        self._session = session(proxy.way)
        self._token = ""
        self._chunk = self._most = file.size

    def close(self) -> None:
        """Let the connection go."""
        self._session.close()

    def send(self, say: Callable[[Progress], None]) -> None:
        """Send what is missing. Raises Failed, SourceUnavailable, AccessDenied, Busy."""
        self._say = say
        found = self._held(self._state)
        if found is None:
            self._once()
            return
        if found.get("state") == "succeeded":
            return
        ours = found.get("metadata") == self._file.metadata and found.get("length") == self._file.size
        going = ours and found.get("state") == "uploading"
        place = f"{upload.UPLOADS}/{found['id']}" if going else self._held(self._created)
        offset = int(found.get("offset") or 0) if going else 0
        self._all(place, offset)

    def failed(self, told: str) -> str:
        """Why what was sent came to nothing; empty: it did not. `told`: a failure that may be an earlier upload's."""
        try:
            said = self._held(self._state)
        except SourceUnavailable:
            return ""  # it has ended with its disk, or comes back
        if said is None:
            return told
        if said.get("state") == "failed":
            return str(said.get("message") or told)
        return told if said.get("state") == "waiting" else ""

    def _all(self, place: str, offset: int) -> None:
        failures = 0
        while offset < self._file.size or not self._file.size:
            before, why = offset, ""
            try:
                offset = self._patched(place, offset)
            except (requests.RequestException, SourceUnavailable, Busy) as error:
                why = str(error)
                offset = self._held(lambda: self._offset(place))
            if not self._file.size:
                return
            failures = 0 if offset > before else failures + 1
            if failures > self._retry:
                raise SourceUnavailable(
                    f"no byte got through in {failures} tries: {why}. Run the command again to go on"
                )
            if not why:
                self._chunk = min(2 * self._chunk, self._most)
            elif failures > 1:
                self._smaller()  # an Ingress that gathers requests may give up a long one, without a word
            if why:
                self._tell(offset, f"going on at {offset}")
                self._pause(failures)

    def _patched(self, place: str, offset: int) -> int:
        """Send from an offset; the offset that is durable then. Raises as the answer says."""
        end = min(self._file.size, offset + self._chunk)
        answer = self._asked(
            "PATCH", place, data=_Body(self._file.path, offset, end, self._moved),
            headers={"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"},
        )  # fmt: skip
        if answer.status_code == 413 and self._smaller():
            self._most = self._chunk
            return self._patched(place, offset)
        self._check(answer)
        return int(answer.headers.get("Upload-Offset") or end)

    def _smaller(self) -> bool:
        """Send less in a request from now on; whether there is less."""
        found = next((each for each in _SMALLER if each < self._chunk), None)
        self._chunk = found or self._chunk
        return found is not None

    def _state(self) -> dict[str, Any] | None:
        answer = self._asked("GET", upload.UPLOADS)
        if answer.status_code == 404 or not answer.headers.get("Tus-Resumable"):
            if answer.status_code in _LATER:
                self._check(answer)
            return None
        self._check(answer)
        said = answer.json()
        return said if isinstance(said, dict) else {}

    def _created(self) -> str:
        words = [f"{name} {b64encode(text.encode()).decode()}" for name, text in self._file.metadata.items()]
        headers = {"Upload-Length": str(self._file.size), "Upload-Metadata": ",".join(words)}
        answer = self._asked("POST", upload.UPLOADS, headers=headers)
        self._check(answer)
        return answer.headers["Location"]

    def _offset(self, place: str) -> int:
        answer = self._asked("HEAD", place)
        if answer.status_code in (404, 410):
            return self._ended()
        self._check(answer)
        return int(answer.headers["Upload-Offset"])

    def _ended(self) -> int:
        """The upload is not there any more: complete, or refused."""
        said = self._state() or {}
        if said.get("state") == "succeeded":
            return self._file.size
        raise Failed(
            str(
                said.get("message")
                or "the upload was ended by another one, or has expired: run the command again"
            )
        )

    def _once(self) -> None:
        """CDI's own way: one request, from the beginning."""
        path = f"/v1beta1/{upload.ASYNC}"
        if self._asked("HEAD", path).status_code != 200:
            path = f"/v1beta1/{upload.SYNC}"
        body = _Body(self._file.path, 0, self._file.size, self._moved)
        answer = self._asked("POST", path, data=body, headers={"Content-Type": "application/octet-stream"})
        if answer.status_code != 200:
            raise Failed(f"unexpected return value {answer.status_code}, {answer.text.strip()}")

    def _held(self, ask: Callable[[], Any]) -> Any:
        """An answer, asked for until there is one."""
        for failures in range(self._retry + 1):
            try:
                return ask()
            except (requests.RequestException, SourceUnavailable, Busy) as error:
                if _distrusted(error):
                    raise AccessDenied(
                        f"the certificate of {self._proxy.url} is not trusted: {error}. Give the URL that the "
                        "CDIConfig says, or --insecure"
                    ) from error
                if failures == self._retry:
                    raise SourceUnavailable(f"{self._proxy.url} does not answer: {error}") from error
                self._pause(failures + 1)
        return None

    def _asked(self, method: str, path: str, **more: Any) -> requests.Response:
        """The answer, with a fresh token where the old one has expired."""
        url = path if "://" in path else self._proxy.url + path
        headers = {**TUS, **more.pop("headers", {})}
        for _ in range(2):
            self._token = self._token or self._proxy.token()
            headers["Authorization"] = f"Bearer {self._token}"
            answer = self._session.request(method, url, headers=headers, timeout=_PATIENCE, **more)
            if answer.status_code != 401:
                return answer
            self._token = ""
        raise AccessDenied(f"{self._proxy.url} does not take the token that the API server gave")

    def _check(self, answer: requests.Response) -> None:
        if answer.ok:
            return
        text = answer.text.strip() or answer.reason
        if answer.status_code == 423:
            raise Busy(f"another client uploads into this volume: {text}")
        if answer.status_code in _LATER:
            raise SourceUnavailable(f"{answer.status_code}: {text}")
        raise Failed(text)

    def _moved(self, offset: int) -> None:
        self._tell(offset, "uploading")

    def _tell(self, offset: int, phase: str) -> None:
        percent = 100.0 * offset / self._file.size if self._file.size else 100.0
        self._say(Progress(phase, offset, self._file.size, 0, percent))

    def _pause(self, failures: int) -> None:
        time.sleep(min(_LONGEST_PAUSE, 0.2 * 2**failures))


def _nobody(_: Progress) -> None:
    """Nobody wants to know."""


def _distrusted(error: BaseException | None) -> bool:
    """Whether it is the certificate: a line that breaks in a TLS handshake is an SSLError, too."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


class _Body:
    """A part of a file; `requests` asks for its length, and for its pieces once for each try."""

    def __init__(self, path: Path, start: int, end: int, moved: Callable[[int], None]) -> None:
        self._path, self._start, self._end, self._moved = path, start, end, moved

    def __len__(self) -> int:
        return self._end - self._start

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            file.seek(self._start)
            offset = self._start
            while chunk := file.read(min(_BLOCK, self._end - offset)):
                yield chunk
                offset += len(chunk)
                self._moved(offset)
