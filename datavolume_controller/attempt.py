"""Every try to fill a claim, kept in its annotations: when, how far, why it ended, what to change. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from diskyard.api import meta
from diskyard.api.job import TerminationMessage
from diskyard.api.names import cdi, clone
from diskyard.api.progress import Failure

KEPT: Final = 10
SUCCEEDED: Final = "Completed"
FAILED: Final = "Error"
TOO_SMALL: Final = "DataVolume too small to contain image"
_TOO_SMALL_SIGNS: Final = (
    "is larger than the reported available", "no space left on device",
    "file largest block is bigger than maxblock", "disk quota exceeded",
)  # fmt: skip
_MESSAGE_LIMIT: Final = 700

ADVICE: Final[Mapping[str, str]] = {
    "ImageTooLarge": "Ask for more in spec.storage.resources.requests.storage of another DataVolume.",
    "SourceMissing": "Correct spec.source.{source}.url: it can be changed where an import fails.",
    "AccessDenied": "Check the Secret that spec.source.{source}.secretRef names, then annotate {retry}.",
    "ChecksumError": "Check the checksum that was asked for, or whether the source was changed.",
    "UnsafeImage": "Flatten the image (qemu-img convert) where it was made.",
    "UnsupportedImage": "Check that the URL gives a disk image.",
    "InvalidRequest": "Correct the field that the message names: spec.source can be changed where an import fails.",
    "NoSpace": "Make room on the node's disk; it is tried again.",
    "SourceUnavailable": "It is tried again; if this goes on, check the source and the network.",
    "SourceChanged": "It starts over with the source as it is now.",
}
"""Reason of a failure -> what a user can do; `{source}`: the kind of the source; `{retry}`: our annotation."""
CLONE_ADVICE: Final[Mapping[str, str]] = {
    "SourceMissing": "Look at what the source claim holds.",
    "UnsupportedImage": "Look at what the source claim holds.",
    "AccessDenied": "",
    "InvalidRequest": "",
}
"""The same of what is cloned, where that is another: its source cannot be changed."""
UPLOAD_ADVICE: Final[Mapping[str, str]] = {
    "ImageTooLarge": "Upload into another, larger one.",
    "ChecksumError": "Check the checksum that was promised, and send the image again.",
    "UnsafeImage": ADVICE["UnsafeImage"],
    "NoSpace": "Make room on the node's disk, and send the image again.",
    "SourceUnavailable": "Send it again.",
    "SentAgain": "Send it again.",
}
"""The same of what was uploaded."""


@dataclass(frozen=True)
class Attempt:
    """One try."""

    run: str
    """Which pod, and its how manieth start: the same try is recorded once."""
    time: str
    reason: str
    message: str
    bytes: int = 0
    """Fetched from the source."""
    advice: str = ""
    asked: str = ""
    """A digest of what was asked for: another one is another chance."""
    phase: str = ""
    """What was being done when it failed: connecting, transferring, converting."""

    @property
    def told(self) -> str:
        """The message with the advice behind it."""
        return f"{self.message.rstrip('. ')}. {self.advice}" if self.advice else self.message

    @property
    def failed(self) -> bool:
        """Whether the try ended without a disk."""
        return self.reason != SUCCEEDED


def attempt(run: str, time: str, ended: TerminationMessage, exit_code: int, source: str = "http") -> Attempt:
    """The try that ended so, at a source of that kind."""
    reason = SUCCEEDED if exit_code == 0 and not ended.fatal else ended.reason or FAILED
    message = ended.message or f"the importer ended with exit code {exit_code} and said nothing; see its log"
    advice = {**ADVICE, **(CLONE_ADVICE if source == clone.SOURCE else {})}.get(reason, "")
    advice = advice.format(source=source, retry=cdi.RETRY)
    return Attempt(
        run, time, reason, message[:_MESSAGE_LIMIT], ended.bytes_fetched, advice, phase=ended.phase
    )


def upload(pod_uid: str, failed: Failure) -> Attempt:
    """The upload that failed so, while its server stayed."""
    run = f"{pod_uid}/{failed.time}/{failed.number}"
    advice = UPLOAD_ADVICE.get(failed.reason, "")
    return Attempt(run, failed.time, failed.reason, failed.message[:_MESSAGE_LIMIT], failed.bytes, advice)


def served(run: str, time: str, ended: TerminationMessage, exit_code: int) -> Attempt:
    """The upload with which its server ended: the disk is there, or the server was killed."""
    reason = SUCCEEDED if exit_code == 0 else ended.reason or FAILED
    message = (
        ended.message or f"the upload server ended with exit code {exit_code} and said nothing; see its log"
    )
    return Attempt(run, time, reason, message[:_MESSAGE_LIMIT], ended.bytes_fetched)


def simplified(ended: TerminationMessage) -> str:
    """The message as CDI's clients expect it in conditions."""
    small = ended.reason == "ImageTooLarge" or any(sign in ended.message for sign in _TOO_SMALL_SIGNS)
    return TOO_SMALL if small else ended.message


def recorded(attempts: Sequence[Attempt], one: Attempt) -> tuple[Attempt, ...]:
    """With one more, unless it is there already; the oldest make room."""
    if any(each.run == one.run for each in attempts):
        return tuple(attempts)
    return (*attempts, one)[-KEPT:]


def attempts(text: str) -> tuple[Attempt, ...]:
    """What the annotation says; nothing where it is not ours."""
    try:
        said = json.loads(text or "[]")
        return tuple(_attempt(each) for each in said)
    except (ValueError, TypeError, AttributeError):
        return ()


def text(attempts: Sequence[Attempt]) -> str:
    """The annotation."""
    return json.dumps([{k: v for k, v in asdict(each).items() if v} for each in attempts])


def pause(attempts: Sequence[Attempt], now: str, delay: float) -> float:
    """Seconds still to wait, when there are to be `delay` seconds after the last try."""
    if not attempts:
        return 0.0
    since = (meta.moment(now) - _moment(attempts[-1].time, now)).total_seconds()
    return max(0.0, delay - since)


def _moment(text: str, otherwise: str) -> datetime:
    try:
        return meta.moment(text)
    except ValueError:
        return meta.moment(otherwise)


def _attempt(said: Mapping[str, Any]) -> Attempt:
    fetched = said.get("bytes")
    return Attempt(
        run=str(said.get("run", "")),
        time=str(said.get("time", "")),
        reason=str(said.get("reason", "")),
        message=str(said.get("message", "")),
        bytes=fetched if isinstance(fetched, int) else 0,
        phase=str(said.get("phase", "")),
        advice=str(said.get("advice", "")),
        asked=str(said.get("asked", "")),
    )
