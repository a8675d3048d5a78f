"""Google Cloud Storage as a Source: our own ranged GETs of one generation, by a token or anonymously."""

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

import requests
from google.auth import exceptions as google
from google.auth.transport.requests import Request
from google.oauth2.service_account import Credentials

from diskyard.disk.head import fill
from diskyard.errors import AccessDenied, InvalidRequest, SourceChanged, SourceMissing, SourceUnavailable
from importer.foreign import authorities, check, proxies
from importer.http import HttpSource
from importer.request import Access
from importer.url import parsed

GOOGLE: Final = "https://storage.googleapis.com"
_SCOPES: Final = ("https://www.googleapis.com/auth/devstorage.read_only",)
_METADATA_LIMIT: Final = 1 << 20
_AS_STORED: Final = ("Accept-Encoding", "gzip")
"""Without it, an object that is stored with a content encoding is unpacked by the server, and has no ranges."""


@dataclass(frozen=True)
class Place:
    """Where an object is."""

    bucket: str
    key: str
    endpoint: str = GOOGLE

    @property
    def metadata(self) -> str:
        """Where the server describes the object."""
        return f"{self.endpoint}/storage/v1/{self._path}"

    def media(self, generation: str) -> str:
        """Where one generation's bytes are."""
        return f"{self.endpoint}/download/storage/v1/{self._path}?alt=media&generation={quote(generation)}"

    @property
    def _path(self) -> str:
        return f"b/{quote(self.bucket, safe='')}/o/{quote(self.key, safe='')}"

    def __str__(self) -> str:
        host = "" if self.endpoint == GOOGLE else f" at {parsed(self.endpoint).netloc}"
        return f"gs://{self.bucket}/{self.key}{host}"


def place(url: str) -> Place:
    """What `gs://BUCKET/OBJECT` or `https://HOST/BUCKET/OBJECT` names. Raises InvalidRequest."""
    endpoint, path = GOOGLE, url[5:]
    if url[:5].lower() != "gs://":
        parts = parsed(url)
        endpoint = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        path = unquote(parts.path).lstrip("/")
    bucket, _, key = path.partition("/")
    if not bucket or not key:
        raise InvalidRequest(
            f"{url} does not name an object: expected gs://BUCKET/OBJECT or https://HOST/BUCKET/OBJECT"
        )
    return Place(bucket, key, endpoint)


class GcsSource:
    """The bytes of an object."""

    def __init__(self, where: Place, key_file: str, access: Access) -> None:
        """Ask what the object is. Raises SourceMissing, AccessDenied, SourceUnavailable, InvalidRequest."""
        self._place = where
        self._access = access
        self._lock = threading.Lock()
        self._open = ExitStack()
        with ExitStack() as failed:
            failed.callback(self._open.close)
            self._account = _Account(key_file) if key_file else None
            self._headers = self._asked_with()
            self.size: int | None
            self.validator: str | None
            self.size, self.validator = self._described()
            self.ranged = True
            self._bytes = self._connected() if self.size else None
            failed.pop_all()

    def readinto(self, buf: memoryview, offset: int) -> int | None:
        source = self._bytes
        if source is None or self.size is None or offset >= self.size:
            return 0
        try:
            return source.readinto(buf, offset)
        except SourceMissing as error:
            raise self._changed("it is not there any more") from error
        except AccessDenied:
            if self._account is None:
                raise
        return self._renewed(source).readinto(buf, offset)

    def silence(self) -> float | None:
        return self._bytes.silence() if self._bytes else None

    def close(self) -> None:
        self._open.close()

    def _described(self) -> tuple[int, str]:
        """The object's size and generation."""
        with self._explained(), closing(HttpSource(self._place.metadata, self._with_token())) as answer:
            buf = bytearray(_METADATA_LIMIT)
            text = bytes(buf[: fill(answer, memoryview(buf), 0)])
        try:
            said = json.loads(text)
            return int(said["size"]), str(said["generation"])
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise InvalidRequest(
                f"expected Google Cloud Storage's JSON at {self._place.metadata}, found {text[:40]!r}: correct the "
                "endpoint"
            ) from error

    def _connected(self) -> HttpSource:
        with self._explained():
            source = HttpSource(self._place.media(self.validator or ""), self._with_token())
        self._open.callback(source.close)
        if source.size != self.size:
            raise self._changed(f"expected {self.size} bytes, found {source.size}")
        return source

    def _renewed(self, refused: HttpSource) -> HttpSource:
        """The same bytes by a fresh token: one lives for an hour."""
        with self._lock:
            if self._bytes is None or self._bytes is refused:
                self._headers = self._asked_with()
                self._bytes = self._connected()
            return self._bytes

    def _with_token(self) -> Access:
        return replace(self._access, headers=self._headers)

    def _asked_with(self) -> tuple[tuple[str, str], ...]:
        if self._account is None:
            return (_AS_STORED,)
        return (_AS_STORED, ("Authorization", f"Bearer {self._account.token(self._access)}"))

    def _changed(self, found: str) -> SourceChanged:
        return SourceChanged(
            f"{self._place} has changed while it was read (generation {self.validator}): {found}. The transfer "
            "starts over with the new one"
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors of HTTP in the words of this source."""
        try:
            yield
        except SourceMissing as error:
            raise SourceMissing(
                f"there is no {self._place}: correct the bucket or the object's name ({error})"
            ) from error
        except AccessDenied as error:
            advice = (
                "it is not public: give a service account's key (secretRef, GOOGLE_APPLICATION_CREDENTIALS)"
            )
            if self._account:
                advice = f"{self._account.name} may not read it: grant it Storage Object Viewer"
            raise AccessDenied(f"cannot read {self._place}: {advice} ({error})") from error


class _Account:
    """A service account, by its key file."""

    def __init__(self, file: str) -> None:
        """Raises InvalidRequest."""
        try:
            key = json.loads(Path(file).read_bytes())
            self._credentials = Credentials.from_service_account_info(key, scopes=_SCOPES)
            self._token_url = parsed(str(key["token_uri"])).geturl()
        except OSError as error:
            raise InvalidRequest(f"cannot read the service account's key {file}: {error.strerror}") from error
        except (ValueError, TypeError, AttributeError, google.GoogleAuthError) as error:
            raise InvalidRequest(
                f"{file} is not a service account's key: {error}. Expected the JSON that Google gives for one "
                "(entry credentials.json of the Secret)"
            ) from error
        self.name = str(key["client_email"])

    def token(self, access: Access) -> str:
        """A fresh token. Raises AccessDenied, SourceUnavailable."""
        check(access, self._token_url)
        with ExitStack() as stack:
            session = stack.enter_context(requests.Session())
            session.trust_env = False
            session.max_redirects = 0
            session.proxies.update(proxies(access, self._token_url))
            verify = authorities(access, stack)
            session.verify = True if verify is None else verify
            try:
                self._credentials.refresh(Request(session))
            except google.TransportError as error:
                raise SourceUnavailable(f"cannot get a token from {self._token_url}: {error}") from error
            except google.RefreshError as error:
                raise AccessDenied(
                    f"{self.name} gets no token from {self._token_url}: {error}. Its key may have been revoked, or "
                    "this machine's clock may be wrong"
                ) from error
        return str(self._credentials.token)
