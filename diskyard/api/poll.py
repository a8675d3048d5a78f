"""What a look at a source found: the version that is there now, and how to get exactly that one. Pure.

An importer that only looks ends with this as its termination message.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import Final

from diskyard.api.written import mapping

_DIGEST: Final = re.compile(r"[a-z0-9]{2,16}:[A-Za-z0-9.-]{12,160}")
LIMIT: Final = 2048
"""Characters of a URL that is kept."""


@dataclass(frozen=True)
class Found:
    """One version of a source."""

    digest: str
    """`sha256:` of an image or a file, `uid:` of a claim, `version:` of what the source itself says of its version."""
    url: str = ""
    """Where that version is; empty: where the source is."""
    checksum: str = ""
    """`ALGORITHM:HEX` of the file there; empty: not known."""

    def to_text(self) -> str:
        """As JSON; what is empty is left out."""
        return json.dumps({key: text for key, text in asdict(self).items() if text})

    @classmethod
    def from_text(cls, text: str) -> "Found | None":
        """What a text says; None: nothing that we understand."""
        said = mapping(text)
        if said is None:
            return None
        found = cls(*(str(said.get(name) or "") for name in ("digest", "url", "checksum")))
        return found if named(found.digest) and len(found.url) <= LIMIT else None


def named(digest: str) -> bool:
    """Whether that is a digest by which an image can be called."""
    return _DIGEST.fullmatch(digest) is not None


def image(prefix: str, digest: str) -> str:
    """`<prefix>-<first 12 characters of the digest>`: the DataVolume, claim or snapshot of one version."""
    return f"{prefix}-{digest.partition(':')[2][:12].lower().strip('.-')}"


def version_of(text: str) -> str:
    """The digest by which a version is known that only its server can tell."""
    return f"version:{hashlib.sha256(text.encode()).hexdigest()}"
