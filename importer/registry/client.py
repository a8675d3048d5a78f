"""One repository of a registry, for reading: OCI distribution-spec 1.1, signing in as the registry asks.

A password is sent in answer to a challenge only, to the registry itself or to the token server that it names; a
token goes to the registry alone. Neither follows a redirect to another origin.
"""

import json
import re
import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from diskyard.api.names import cdi
from diskyard.disk.source import Source
from diskyard.errors import (
    AccessDenied,
    InvalidRequest,
    SourceMissing,
    SourceUnavailable,
)
from diskyard.log import logger
from importer.http import HttpSource
from importer.registry.credentials import Login
from importer.registry.manifest import ACCEPT, MAX_DOCUMENT, Descriptor
from importer.registry.reference import HUB, Reference
from importer.request import ANSWERS, Access, Answer, get, shown
from importer.retry import Retrying

_HUB_HOST: Final = "registry-1.docker.io"
_PARAMETER: Final = re.compile(r'([A-Za-z_]{1,32})="([^"]*)"')
_MAX_TOKEN: Final = 1 << 16

log = logger("registry")


class Repository:
    """Manifests and blobs of one image, at one host that has it."""

    def __init__(self, image: Reference, access: Access, login: Login | None) -> None:
        """`access` without credentials; where it is `insecure`, plain HTTP is spoken to hosts that speak no TLS."""
        self.name = str(image)
        self._image = image
        self._access = access
        self._login = login
        self._challenge = ""
        self._led = False
        host = _HUB_HOST if image.host == HUB else image.host
        self._host = f"https://{host}"

    def manifest(self, version: str) -> bytes:
        """Raises SourceMissing, AccessDenied, SourceUnavailable, InvalidRequest, each with the whole reference."""
        path = f"manifests/{version}"
        try:
            answer = self._signed_in(self._url(path), {"Accept": ACCEPT})
        except SourceMissing as error:
            raise SourceMissing(
                f"there is no image {self.name}: {self._host} knows no such name or tag. Correct the URL"
            ) from error
        except AccessDenied as error:
            who = f"as {self._login.user}" if self._login else "without credentials"
            raise AccessDenied(
                f"no access to the image {self.name} {who}: it does not exist, or wants other credentials (secretRef, "
                f"a pull secret, docker login). {error}"
            ) from error
        except SourceUnavailable as error:
            host = self._image.host
            raise SourceUnavailable(
                f"cannot ask for the image {self.name}: {error}. Where this machine has no way to {host}, name a "
                f"mirror of it (--mirror {host}=HOST, {cdi.REGISTRY_MIRRORS} on the CDIConfig)",
                error.after,
            ) from error
        return _body(answer, MAX_DOCUMENT)

    def blob(self, descriptor: Descriptor) -> Source:
        return Retrying(_Blob(self, descriptor))

    def opened(self, descriptor: Descriptor, *, renew: bool = False) -> HttpSource:
        """A connection to a blob; `renew`: after signing in once more, for tokens live for minutes."""
        if renew:
            self._sign_in()
        try:
            return HttpSource(self._url(f"blobs/{descriptor.digest}"), self._access)
        except SourceMissing as error:
            raise SourceMissing(
                f"a part of the image {self.name} is missing: {self._host} has no {descriptor.digest}. Push the image "
                "again"
            ) from error

    def _url(self, path: str) -> str:
        return f"{self._host}/v2/{self._image.path}/{path}"

    def _signed_in(self, url: str, headers: Mapping[str, str]) -> Answer:
        answer = self._first(url, headers)
        if answer.status != 401:
            return answer
        answer.close()
        self._led = answer.public
        self._challenge = ", ".join(answer.headers.get_all("WWW-Authenticate", []))
        self._sign_in()
        return get(self._url(url.rpartition(f"/{self._image.path}/")[2]), self._access, headers)

    def _first(self, url: str, headers: Mapping[str, str]) -> Answer:
        """The first answer of a host; it decides whether TLS is spoken."""
        try:
            return get(url, self._access, headers, ANSWERS | {401})
        except (SourceUnavailable, InvalidRequest) as error:
            plain = url.replace("https://", "http://", 1)
            if plain == url or not isinstance(error.__cause__, OSError):
                raise
            if not self._access.insecure:
                if not isinstance(error.__cause__, ssl.SSLError):
                    raise
                raise InvalidRequest(
                    f"{error}. If {self._image.host} shall be used all the same, or speaks plain HTTP, say that it is "
                    "insecure (insecureRegistries, --insecure)"
                ) from error
            log.warning("no TLS there: speaking plain HTTP, for it may be insecure", host=self._image.host)
            self._host = self._host.replace("https://", "http://", 1)
            return get(plain, self._access, headers, ANSWERS | {401})

    def _sign_in(self) -> None:
        """Answer the challenge: with a password, or with a token that a password, or nothing, buys."""
        scheme, _, rest = self._challenge.partition(" ")
        said = dict(_PARAMETER.findall(rest))
        if scheme.lower() == "bearer" and said.get("realm"):
            header = ("Authorization", f"Bearer {self._token(said)}")
            self._access = replace(self._access, headers=(header,))
        elif scheme.lower() == "basic" and self._login:
            self._access = replace(self._access, user=self._login.user, password=self._login.password)

    def _token(self, said: Mapping[str, str]) -> str:
        """distribution-spec: token authentication. The realm gets the password because the registry names it."""
        realm = said["realm"]
        if self._host.startswith("https://") and urlsplit(realm).scheme != "https":
            raise InvalidRequest(
                f"{self._host} wants a token of {shown(realm)}, which does not speak TLS: expected https://. The "
                "registry's configuration is wrong"
            )
        query = {"service": said.get("service", ""), "scope": f"repository:{self._image.path}:pull"}
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode({k: v for k, v in query.items() if v})}"
        who = self._login or Login("", "")
        access = replace(self._access, headers=(), user=who.user, password=who.password, led=self._led)
        document = _body(get(url, access, {}), _MAX_TOKEN)
        try:
            answer: Any = json.loads(document)
        except (ValueError, RecursionError):
            answer = None
        token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
        if not isinstance(token, str) or not (token.isascii() and token.isprintable()):
            raise SourceUnavailable(f"{shown(realm)} gave no token: expected JSON with `token`")
        return token


class _Blob:
    """A blob at any offset. The digest is its validator: whatever the server says, other bytes are found out."""

    ranged = True

    def __init__(self, repository: Repository, descriptor: Descriptor) -> None:
        self.size: int | None = descriptor.size
        self.validator: str | None = descriptor.digest
        self._repository = repository
        self._descriptor = descriptor
        self._source = repository.opened(descriptor)

    def readinto(self, buf: memoryview, offset: int) -> int | None:
        try:
            return self._source.readinto(buf, offset)
        except AccessDenied:
            self._source.close()
            self._source = self._repository.opened(self._descriptor, renew=True)
            return self._source.readinto(buf, offset)

    def close(self) -> None:
        self._source.close()


def _body(answer: Answer, limit: int) -> bytes:
    with closing(answer):
        return answer.read(limit)
