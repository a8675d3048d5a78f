"""The boot test of a golden image: what its guest must print, how long it has, and how it went. Pure."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from diskyard.api.meta import Obj
from diskyard.api.names import cdi
from diskyard.api.written import mapping
from diskyard.errors import InvalidRequest

WITHIN: Final = 300
LONGEST: Final = 3600
WORDS: Final = 200
"""Characters that may be waited for."""
TEMPLATE: Final = 64 << 10
IMAGE: Final = "image"
"""The disk and the volume of the guest that are the image."""
PLAIN: Final[Obj] = {
    "domain": {"memory": {"guest": "1Gi"}, "devices": {"autoattachPodInterface": False}},
    "terminationGracePeriodSeconds": 0,
}
"""A guest that reaches nothing and nobody but its own disk."""
_TIME: Final = re.compile(r"(\d{1,5})\s*([sm]?)")
_SECONDS: Final = {"": 1, "s": 1, "m": 60}


@dataclass(frozen=True)
class BootTest:
    """What is asked of a new image."""

    says: str
    within: int = WITHIN
    """Seconds from when its guest is made."""
    guest: Obj | None = None
    """The spec of the guest; None: a plain one."""

    @property
    def mark(self) -> str:
        """By which verdicts of this very test are known."""
        said = json.dumps([self.says, self.within, self.guest], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Verdict:
    """How a test went."""

    mark: str
    failed: str = ""
    """Why; empty: it went well."""

    def to_text(self) -> str:
        """As an image's annotation has it."""
        return json.dumps({"test": self.mark, **({"failed": self.failed} if self.failed else {})})

    @classmethod
    def from_text(cls, text: str) -> "Verdict | None":
        """What an annotation says; None: nothing that we understand."""
        said = mapping(text)
        if said is None:
            return None
        return cls(str(said.get("test") or ""), str(said.get("failed") or ""))


def boot_test(annotations: Mapping[str, str]) -> BootTest | None:
    """What a DataImportCron's annotations ask for; None: nothing. Raises InvalidRequest."""
    says = annotations.get(cdi.BOOT_SAYS, "").strip()
    if not says:
        left = [name for name in (cdi.BOOT_WITHIN, cdi.BOOT_GUEST) if name in annotations]
        if left or cdi.BOOT_SAYS in annotations:
            raise InvalidRequest(
                f"Illegal {cdi.BOOT_SAYS}: expected words that a guest of the image prints on its serial console, "
                "found none"
            )
        return None
    if len(says) > WORDS or not says.isprintable():
        raise InvalidRequest(
            f"Illegal {cdi.BOOT_SAYS}: expected one line of at most {WORDS} printable characters"
        )
    return BootTest(says, _within(annotations.get(cdi.BOOT_WITHIN, "")), _guest(annotations))


def _within(text: str) -> int:
    if not text:
        return WITHIN
    found = _TIME.fullmatch(text.strip())
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not 0 < seconds <= LONGEST:
        raise InvalidRequest(
            f"Illegal {cdi.BOOT_WITHIN}: expected seconds or minutes up to an hour, such as 90s or 5m, found {text!r}"
        )
    return seconds


def _guest(annotations: Mapping[str, str]) -> Obj | None:
    text = annotations.get(cdi.BOOT_GUEST)
    if text is None:
        return None
    where = f"Illegal {cdi.BOOT_GUEST}"
    if len(text) > TEMPLATE:
        raise InvalidRequest(f"{where}: expected at most {TEMPLATE >> 10} KiB, found {len(text)} bytes")
    try:
        said = _loaded(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidRequest(f"{where}: it is not YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(said, dict) or not isinstance(said.get("domain"), dict):
        raise InvalidRequest(
            f"{where}: expected the spec of a VirtualMachineInstance with a domain in it, found "
            f"{', '.join(map(str, said)) if isinstance(said, dict) else type(said).__name__}"
        )
    return said


def _loaded(text: str) -> Any:
    """The document; one with aliases could be larger than it looks."""
    if any(isinstance(each, yaml.AliasEvent) for each in yaml.parse(text, Loader=yaml.CSafeLoader)):
        raise yaml.YAMLError("it has aliases (*), which are not followed")
    return yaml.load(text, Loader=yaml.CSafeLoader)
