"""HTTP(S) as a Source. The first request is a ranged GET, never a HEAD: presigned URLs allow nothing else."""

import re
from contextlib import ExitStack, closing, suppress
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Final

from diskyard.errors import AccessDenied, SourceChanged, SourceMissing, SourceUnavailable
from importer.request import Access, Answer, Client, get, shown
from importer.streams import Streams

_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_STRONG_AFTER: Final = 60.0
"""Seconds from Last-Modified to Date that make the former a strong validator: RFC 9110 §8.8.2.2."""


def looked_at(url: str, access: Access) -> tuple[int | None, str]:
    """Length and version (ETag or date, weak ones too) of what is there, for one byte of it. Raises as HttpSource."""
    with closing(get(url, access, {"Range": "bytes=0-0"})) as answer:
        said = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
        return _size(answer), said.strip()


class HttpSource:
    """The bytes of a URL."""

    def __init__(self, url: str, access: Access) -> None:
        """Ask for the first byte. Raises SourceMissing, AccessDenied, SourceUnavailable, InvalidRequest."""
        self._url = url
        self._access = access
        self._client = Client()
        answer, self.size = self._begun({"Range": "bytes=0-"})
        endless = answer.status == 206 and self.size is None
        if endless:  # a part, and nobody says of how much
            answer.close()
            answer, self.size = self._begun({})
        self._resolved = (answer.url, answer.access)
        self.validator = _validator(answer.headers)
        offered = answer.headers.get("Accept-Ranges", "").strip() == "bytes"
        self.ranged = not endless and (answer.status == 206 or offered)
        first = None if answer.status == 416 else _Body(answer, 0, None, self.size)  # 416: there is no byte 0
        if first is None:
            answer.close()
        self._streams = Streams(self._opened, self.size, first)

    def readinto(self, buf: memoryview, offset: int) -> int | None:
        return self._streams.readinto(buf, offset)

    def silence(self) -> float | None:
        return self._streams.silence()

    def close(self) -> None:
        self._streams.close()
        self._client.close()

    def _begun(self, headers: dict[str, str]) -> tuple[Answer, int | None]:
        """The first answer, and the size that it says."""
        answer = self._client.get(self._url, self._access, headers)
        with ExitStack() as wrong:
            wrong.callback(answer.close)
            size = _size(answer)
            _check_framing(answer, 0)
            if answer.status == 206 and not headers:
                raise SourceUnavailable(
                    f"{shown(answer.url)} answered with {answer.headers.get('Content-Range')!r} where it was "
                    "asked for as a whole: expected status 200. A proxy or the server is at fault"
                )
            wrong.pop_all()
        return answer, size

    def _opened(self, offset: int, end: int | None) -> "_Body":
        if offset and not self.ranged:
            raise SourceUnavailable(
                f"the connection to {shown(self._url)} broke off at byte {offset}, and the server cannot go on from "
                "there (it offers no ranges): the transfer starts over"
            )
        headers = {"Range": f"bytes={offset}-{'' if end is None else end - 1}"}
        if self.validator:
            headers["If-Range"] = self.validator
        answer = self._asked(headers)
        with ExitStack() as wrong:
            wrong.callback(answer.close)
            self._check(answer, offset)
            wrong.pop_all()
        return _Body(answer, offset, None if answer.status == 200 else end, self.size)

    def _asked(self, headers: dict[str, str]) -> Answer:
        """The answer of where we were sent; when that link has expired, of where we were sent from."""
        url, access = self._resolved
        if url != self._url:
            with suppress(AccessDenied, SourceMissing):
                return self._client.get(url, access, headers)
        answer = self._client.get(self._url, self._access, headers)
        self._resolved = (answer.url, answer.access)
        return answer

    def _check(self, answer: Answer, offset: int) -> None:
        """Nothing where the answer is the rest of what we began with."""
        name = shown(self._url)
        version = _version(answer.headers, self.validator)
        if version != self.validator:
            raise SourceChanged(
                f"{name} has changed while it was read: expected version {self.validator}, found {version}. The "
                "transfer starts over with the new one"
            )
        if answer.status == 200 and offset:
            raise SourceUnavailable(
                f"{name} answered with something whole instead of the bytes from {offset}: expected status 206, found "
                f"200 with content of type {answer.headers.get('Content-Type', 'unknown')}. A proxy or the server is "
                "at fault"
            )
        if answer.status == 416 or _size(answer) != self.size:
            raise SourceChanged(
                f"{name} has changed while it was read: it has another size than {self.size} bytes"
            )
        _check_framing(answer, offset)


class _Body:
    """The bytes of one answer."""

    def __init__(self, answer: Answer, position: int, end: int | None, size: int | None) -> None:
        self.end = end
        self._answer = answer
        self._position = position
        self._stop = size if end is None else end

    def readinto(self, buf: memoryview, /) -> int:
        count = self._answer.readinto(buf if self._stop is None else buf[: self._stop - self._position])
        self._position += count
        if not count and self._stop is not None and self._position != self._stop:
            raise SourceUnavailable(
                f"the connection to {shown(self._answer.url)} broke off at byte {self._position} of {self._stop}"
            )
        return count

    def silence(self) -> float | None:
        return self._answer.silence()

    def abort(self) -> None:
        self._answer.abort()

    def close(self) -> None:
        self._answer.close()


def _check_framing(answer: Answer, offset: int) -> None:
    """Nothing where an answer's bytes are the source's, from that offset on. Raises SourceUnavailable."""
    coding = answer.headers.get("Transfer-Encoding", "chunked")
    if coding.strip().lower() != "chunked":
        raise SourceUnavailable(
            f"{shown(answer.url)} answered with Transfer-Encoding {coding!r}: expected chunked or none. A proxy or the "
            "server is at fault"
        )
    if answer.status == 206 and _first(answer) != offset:
        raise SourceUnavailable(
            f"{shown(answer.url)} answered with other bytes than asked for: expected Content-Range from {offset}, "
            f"found {answer.headers.get('Content-Range')!r}. A proxy or the server is at fault"
        )


def _size(answer: Answer) -> int | None:
    if answer.status == 416:
        return 0
    if answer.status == 206:
        match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
        if not match:
            raise SourceUnavailable(
                f"{shown(answer.url)} answered 206 with Content-Range {answer.headers.get('Content-Range')!r}: "
                "expected 'bytes FIRST-LAST/SIZE'. A proxy or the server is at fault"
            )
        return None if match[3] == "*" else int(match[3])
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdigit() and "Transfer-Encoding" not in answer.headers else None


def _first(answer: Answer) -> int:
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
    return int(match[1]) if match else -1


def _version(headers: Message, validator: str | None) -> str | None:
    """What an answer says in place of a validator; the validator where it says nothing of that kind."""
    name = "ETag" if (validator or "").startswith('"') else "Last-Modified"
    said = headers.get(name, "").strip()
    return said if validator and said and not said.startswith("W/") else validator


def _validator(headers: Message) -> str | None:
    """A strong validator, as `If-Range` takes it."""
    tag = headers.get("ETag", "").strip()
    if tag and not tag.startswith("W/"):
        return str(tag)
    changed, now = headers.get("Last-Modified"), headers.get("Date")
    if tag or not changed or not now:
        return None
    try:
        age = parsedate_to_datetime(now) - parsedate_to_datetime(changed)
    except (ValueError, TypeError):
        return None
    return str(changed) if age.total_seconds() >= _STRONG_AFTER else None
