"""What an image is called: `[HOST[:PORT]/]NAME[:TAG][@DIGEST]`, short names read as the field reads them."""

import re
from dataclasses import dataclass
from typing import Final

from diskyard.errors import InvalidRequest

HUB: Final = "docker.io"
_HUB_NAMES: Final = frozenset({HUB, "index.docker.io", "registry-1.docker.io"})
_TAG: Final = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_HOST: Final = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?|\[[0-9a-fA-F:]+\](:[0-9]{1,5})?"
)
_PATH: Final = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*")


@dataclass(frozen=True)
class Reference:
    """A whole reference: nothing is left to be guessed."""

    host: str
    path: str
    tag: str = ""
    digest: str = ""
    """Where there is one, the tag only is for people."""

    @property
    def version(self) -> str:
        """What a registry is asked for."""
        return self.digest or self.tag

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.host}/{self.path}{tag}" + (f"@{self.digest}" if self.digest else "")


def reference(url: str) -> Reference:
    """What `docker://...` means. Raises InvalidRequest.

    A first part without a dot or a port is no host (distribution/reference): the image is on Docker Hub.
    """
    text = url.removeprefix("docker://")
    rest, _, digest = text.partition("@")
    first, slash, path = rest.partition("/")
    if not slash or not (
        first == "localhost" or any(mark in first for mark in ".:") or first != first.lower()
    ):
        first, path = HUB, rest
    path, _, tag = path.partition(":")
    if first in _HUB_NAMES:
        first, path = HUB, path if "/" in path else f"library/{path}"
    tag = tag or ("" if digest else "latest")
    wrong = (
        not _HOST.fullmatch(first) or not _PATH.fullmatch(path) or len(path) > 255
        or (tag and not _TAG.fullmatch(tag)) or (digest and not DIGEST.fullmatch(digest))
    )  # fmt: skip
    if wrong:
        raise InvalidRequest(
            f"expected docker://HOST[:PORT]/NAME[:TAG][@sha256:HEX] with a name in lower case, found {url!r}"
        )
    return Reference(first, path, tag, digest)
