"""What an importer says of itself: lines, metrics and JSON."""

import json
import logging
from dataclasses import replace

import pytest

from datavolume_controller.progress import parsed
from diskyard.disk.target import Limit, Progress
from importer.report import Report
from importer.transfer import host_of

MOVING = Progress("transferring", 450, 1000, 900, 45.0, Limit.SOURCE)
STALLED = replace(MOVING, still=73.0)


def test_says_how_far_it_is_in_json() -> None:
    report = Report("owner")
    report.update(MOVING)

    assert json.loads(report.progress()) == {
        "phase": "transferring", "ownerUID": "owner",
        "percent": 45.0, "fetched": 450, "total": 1000, "written": 900, "limit": "source",
        "stalledSeconds": 0,
    }  # fmt: skip


def test_a_stall_is_told_once_it_is_long() -> None:
    report = Report("owner")
    report.update(replace(MOVING, still=59.0))
    before = json.loads(report.progress())["stalledSeconds"]
    report.update(STALLED)

    assert (before, json.loads(report.progress())["stalledSeconds"]) == (0, 73)


def test_the_controller_reads_limit_and_stall() -> None:
    report = Report("owner")
    report.update(STALLED)

    found = parsed(report.metrics(), "owner")

    assert (found.limit, found.stalled) == ("source", 73)
    assert type(found).from_text(found.to_text()) == found


def test_the_log_says_whom_it_waits_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    report = Report("owner", host=host_of("https://me@images.example:8443/disk.qcow2"), patience=0.0)
    report.update(MOVING)

    report.update(STALLED)

    assert "waiting for images.example for 73 s" in caplog.text


@pytest.mark.parametrize("endpoint", ["", "https://[", "/srv/disk.raw"])
def test_a_source_without_a_host_is_the_source(endpoint: str) -> None:
    assert host_of(endpoint) == "the source"
