"""S3 as a Source, through boto3: one ranged `get_object` for each connection, every one of the same version."""

import re
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import boto3
import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from diskyard import VERSION
from diskyard.errors import InvalidRequest, SourceChanged, SourceUnavailable
from importer.connection import silence
from importer.foreign import authorities, check, proxies
from importer.request import Access
from importer.s3_errors import refusal, trouble
from importer.streams import Streams
from importer.url import parsed

DEFAULT_REGION: Final = "us-east-1"
"""What is signed for where nothing names a region; a server that wants another one says which."""
_TIMEOUT: Final = 60.0
"""Seconds without a byte after which a connection is given up."""
_CONNECTIONS: Final = 16
_PIECE: Final = 256 << 10
"""Bytes read at once: urllib3 holds as many a second time, for each connection."""
_AWS: Final = re.compile(
    r"(?:(?P<bucket>.+)\.)?s3(?:[.-](?:dualstack\.)?(?P<region>[a-z]{2}(?:-[a-z]+)+-\d+))?\.amazonaws\.com(?:\.cn)?"
)
_REGIONAL: Final = re.compile(r"s3\.(?P<region>[a-z0-9-]+)\.[a-z0-9-]+\.[a-z0-9.-]*[a-z]")
"""How most other providers name their endpoints."""
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,19})-\d{1,19}/(\d{1,19})")


@dataclass(frozen=True)
class Place:
    """Where an object is."""

    bucket: str
    key: str
    version: str = ""
    endpoint: str = ""
    """A URL without a path; empty: Amazon's own."""
    region: str = ""
    """As the endpoint's name tells it."""
    tls: bool = True

    @property
    def url(self) -> str:
        """Of the server."""
        return (
            self.endpoint
            or f"{'https' if self.tls else 'http'}://s3.{self.region or DEFAULT_REGION}.amazonaws.com"
        )

    def __str__(self) -> str:
        host = urlsplit(self.endpoint).netloc
        return f"s3://{self.bucket}/{self.key}{f' at {host}' if host else ''}"


@dataclass(frozen=True)
class Login:
    """Who asks. Nothing given: what boto3 finds in the environment and the profile; there neither: nobody."""

    key: str = ""
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    anonymous: bool = False
    instance_role: bool = False
    """Also ask the machine's metadata service."""


def place(url: str) -> Place:
    """What `s3://BUCKET/KEY` or `https://HOST/BUCKET/KEY` names, each with `?versionId=` or not.

    Raises InvalidRequest.
    """
    if url[:5].lower() == "s3://":
        bucket, _, rest = url[5:].partition("/")
        key, _, version = rest.partition("?versionId=")
        return _complete(url, Place(bucket, key, version))
    parts = parsed(url)
    version = parse_qs(parts.query).get("versionId", [""])[0]
    path = unquote(parts.path).lstrip("/")
    host = (parts.hostname or "").lower()
    aws = _AWS.fullmatch(host)
    if not aws:
        bucket, _, key = path.partition("/")
        known = _REGIONAL.fullmatch(host)
        endpoint = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        return _complete(url, Place(bucket, key, version, endpoint, known["region"] if known else ""))
    bucket, _, key = (aws["bucket"], "", path) if aws["bucket"] else path.partition("/")
    return _complete(url, Place(bucket, key, version, "", aws["region"] or "", tls=parts.scheme == "https"))


def _complete(url: str, found: Place) -> Place:
    if not _BUCKET.fullmatch(found.bucket) or not found.key:
        raise InvalidRequest(
            f"{url} does not name an object: expected s3://BUCKET/KEY or https://HOST/BUCKET/KEY, found bucket "
            f"{found.bucket!r} and key {found.key!r}"
        )
    return found


class S3Source:
    """The bytes of an object."""

    def __init__(self, where: Place, login: Login, access: Access, region: str = "") -> None:
        """Ask for the first byte. Raises SourceMissing, AccessDenied, SourceUnavailable, InvalidRequest."""
        self._place = where
        self._etag = ""
        self.size: int | None = None
        self.validator: str | None = None
        self.ranged = True
        self._open = ExitStack()
        with ExitStack() as failed:
            failed.callback(self._open.close)
            check(access, where.url)
            try:
                self._client, self._signed = connected(where, login, access, region, self._open)
            except BotoCoreError as error:
                raise trouble(error, where) from error
            first = self._begin()
            self._streams = Streams(self._opened, self.size, first)
            self._open.callback(self._streams.close)
            failed.pop_all()

    def readinto(self, buf: memoryview, offset: int) -> int | None:
        return self._streams.readinto(buf, offset)

    def silence(self) -> float | None:
        return self._streams.silence()

    def close(self) -> None:
        self._open.close()

    def _begin(self) -> "_Body | None":
        """The whole object, open; what it says of itself."""
        answer = self._asked(0)
        if answer is None:  # there is no byte 0
            self.size = 0
            return None
        self._etag = answer.get("ETag", "")
        self.validator = " ".join(filter(None, (self._etag, answer.get("VersionId", "")))) or None
        self.ranged = "ContentRange" in answer
        self.size = _size(answer)
        return _Body(answer, self._place)

    def _opened(self, offset: int, end: int | None) -> "_Body":
        answer = self._asked(offset, end)
        if answer is None:
            raise self._changed(f"fewer than {self.size} bytes")
        body = _Body(answer, self._place, end)
        with ExitStack() as wrong:
            wrong.callback(body.close)
            self._check(answer, offset)
            wrong.pop_all()
        return body

    def _check(self, answer: Any, offset: int) -> None:
        """Nothing where the answer is the rest of what we began with."""
        if answer.get("ETag", "") != self._etag:
            raise self._changed(answer.get("ETag", "one without an ETag"))
        if _size(answer) != self.size:
            raise self._changed(f"{_size(answer)} bytes instead of {self.size}")
        if _first(answer) != offset:
            raise SourceUnavailable(
                f"{self._place} answered with other bytes than asked for: expected Content-Range from {offset}, found "
                f"{answer.get('ContentRange')!r}. A proxy or the server is at fault"
            )

    def _changed(self, found: str) -> SourceChanged:
        return SourceChanged(
            f"{self._place} has changed while it was read: expected version {self._etag}, found {found}. The "
            "transfer starts over with the new one"
        )

    def _asked(self, offset: int, end: int | None = None) -> Any:
        """The answer to a GET from `offset`; None where the object ends before it."""
        asked = {
            "Bucket": self._place.bucket,
            "Key": self._place.key,
            "Range": f"bytes={offset}-{'' if end is None else end - 1}",
        }
        if self._place.version:
            asked["VersionId"] = self._place.version
        if self._etag:
            asked["IfMatch"] = self._etag
        try:
            return self._client.get_object(**asked)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "InvalidRange":
                return None
            raise refusal(error.response, self._place, signed=self._signed) from error
        except BotoCoreError as error:
            raise trouble(error, self._place) from error
        except ValueError as error:  # botocore reads lengths and dates as they come
            raise SourceUnavailable(
                f"{self._place} answered with headers that cannot be read: {error}. A proxy or the server is at fault"
            ) from error


def connected(
    where: Place, login: Login, access: Access, region: str, while_open: ExitStack
) -> tuple[Any, bool]:
    """A client, and whether it signs."""
    core = botocore.session.get_session()
    if not login.instance_role:
        core.get_component("credential_provider").remove("iam-role")
    session = boto3.Session(
        login.key or None, login.secret or None, login.token or None, botocore_session=core
    )
    signed = not login.anonymous and session.get_credentials() is not None
    client = session.client(
        "s3",
        region_name=region or where.region or session.region_name or DEFAULT_REGION,
        endpoint_url=where.endpoint or None,
        use_ssl=where.tls,
        verify=authorities(access, while_open),
        config=Config(
            signature_version=None if signed else UNSIGNED,
            s3=_addressing(core, where),
            retries={"total_max_attempts": 1},
            connect_timeout=_TIMEOUT,
            read_timeout=_TIMEOUT,
            max_pool_connections=_CONNECTIONS,
            proxies=proxies(access, where.url),
            response_checksum_validation="when_required",
            ignore_configured_endpoint_urls=True,
            user_agent_extra=f"diskyard/{VERSION}",
        ),
    )
    while_open.callback(client.close)
    return client, signed


class _Body:
    """The bytes of one answer."""

    def __init__(self, answer: Any, where: Place, end: int | None = None) -> None:
        self.end = end
        self._open = ExitStack()
        self._raw = self._open.enter_context(
            answer["Body"]
        )  # urllib3's own, which another thread may shut down
        self._left: int | None = answer.get("ContentLength")
        self._place = where

    def readinto(self, buf: memoryview, /) -> int:
        try:
            count = int(self._raw.readinto(buf[:_PIECE]))
        except (HTTPError, OSError, ValueError) as error:  # ValueError: closed by another thread
            raise SourceUnavailable(f"the connection to {self._place} broke off: {error}") from error
        if self._left is not None:
            self._left -= count
        if not count and self._left:
            raise SourceUnavailable(
                f"the connection to {self._place} broke off: {self._left} more bytes were promised"
            )
        return count

    def abort(self) -> None:
        with suppress(OSError, ValueError):
            self._raw.shutdown()

    def silence(self) -> float | None:
        return silence(getattr(getattr(self._raw, "connection", None), "sock", None))

    def close(self) -> None:
        self._open.close()


def _addressing(core: Any, where: Place) -> dict[str, str]:
    """Bucket in the path, or in the host's name: as the profile says; else Amazon by name, all others by path."""
    said = core.get_scoped_config().get("s3")
    style = said.get("addressing_style") if isinstance(said, dict) else None
    return {"addressing_style": style or ("path" if where.endpoint else "auto")}


def _size(answer: Any) -> int | None:
    said = answer.get("ContentRange", "")
    match = _CONTENT_RANGE.fullmatch(said)
    if said and not match:
        raise SourceUnavailable(
            f"expected Content-Range 'bytes FIRST-LAST/SIZE', found {said[:60]!r}. A proxy or the server is at fault"
        )
    return int(match[2]) if match else answer.get("ContentLength")


def _first(answer: Any) -> int:
    match = _CONTENT_RANGE.fullmatch(answer.get("ContentRange", ""))
    return int(match[1]) if match else 0
