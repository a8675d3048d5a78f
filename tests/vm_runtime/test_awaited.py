"""What is awaited of a guest's console, without guests: who hears it, when, and what of it stands on the instance."""

from datetime import UTC, datetime

from diskyard.api.job import Report, TerminationMessage
from diskyard.api.meta import POD
from diskyard.api.names import kubevirt
from tests import builders
from vm_runtime.controller import phases
from vm_runtime.launcher.awaited import PAUSE, TAIL, Awaited


class Ear:
    """Whom it is told, and a clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.told: list[tuple[bool, str]] = []
        self.awaited = Awaited("login:", lambda said, tail: self.told.append((said, tail)), lambda: self.now)


def test_words_are_told_at_once_and_once() -> None:
    ear = Ear()
    ear.awaited.hear([b"booting", b"vm login: "])
    ear.awaited.hear([b"login: again"])
    assert ear.told == [(True, "booting\nvm login:")]


def test_last_words_are_told_now_and_then() -> None:
    ear = Ear()
    ear.awaited.hear([b"one"])
    ear.awaited.hear([b"", b"two"])
    ear.awaited.hear([])
    assert ear.told == [(False, "one")]
    ear.now += PAUSE
    ear.awaited.hear([])
    assert ear.told[1:] == [(False, "one\ntwo")]
    ear.now += PAUSE
    ear.awaited.hear([b"x" * 4 * TAIL])
    assert len(ear.told[-1][1]) == TAIL


def test_an_instance_says_what_its_console_said_also_when_the_last_words_came_with_its_end() -> None:
    obj = builders.stored(builders.instance("vm"), annotations={kubevirt.CONSOLE_AWAITS: "login:"})

    def said(report: Report, end: TerminationMessage | None) -> tuple[str, str]:
        pod = builders.some(
            POD, "launcher", metadata={"annotations": {kubevirt.DOMAIN_REPORT: report.to_text()}}
        )
        if end:
            state = {"name": "compute", "state": {"terminated": {"exitCode": 0, "message": end.to_text()}}}
            pod["status"] = {"phase": "Succeeded", "containerStatuses": [state]}
        subject = phases.Subject(obj, None, (), pod)
        (found,) = [
            each
            for each in phases.status(subject, phases.Stage("Running"), datetime.now(UTC))["conditions"]
            if each["type"] == "ConsoleSaid"
        ]
        return found["status"], found.get("message", "")

    assert said(Report("Running"), None) == ("False", "")
    assert said(Report("Running", tail="booting"), None) == ("False", "booting")
    assert said(Report("Running", said=True, tail="vm login:"), None) == ("True", "vm login:")
    assert said(Report("Off", tail="boot"), TerminationMessage("off", tail="panic")) == ("False", "panic")
    assert said(Report("Off", tail="boot"), TerminationMessage("off", said=True)) == ("True", "boot")
