"""Every line of bad input: said as early as it can be known, with cause and fix; nothing half-done stays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.flows.place import Place
from tests.flows.yard import Yard, data_volume


def running_message(dv: dict[str, Any]) -> str:
    return next(
        (c.get("message", "") for c in dv["status"].get("conditions", []) if c["type"] == "Running"), ""
    )


def failed(place: Place, name: str) -> str:
    dv = place.wait("datavolumes", name, "Failed")
    return running_message(dv) + "\n" + "\n".join(place.events(name))


def nothing_visible(place: Place, claim: str) -> bool:
    return not list(place.volume(claim).glob("*.img"))


def test_two_sources_are_refused_with_the_field(place: Place) -> None:
    said = place.refusal(data_volume("two", {"blank": {}, "http": {"url": "http://127.0.0.1/x"}}))

    assert "Multiple Data volume sources" in said
    assert "spec.source" in said


def test_a_bad_url_is_refused_with_the_field(place: Place) -> None:
    said = place.refusal(data_volume("url", {"http": {"url": "htp:/nowhere"}}))

    assert "Invalid source URL" in said


def test_a_size_below_the_image_fails_at_once_with_both_numbers(place: Place, qcow2: str) -> None:
    place.create(data_volume("small", {"http": {"url": qcow2}}, "8Mi"))

    said = failed(place, "small")

    assert "DataVolume too small to contain image" in said
    assert str(64 << 20) in said
    assert nothing_visible(place, "small")


def test_an_unknown_storage_class_is_named_with_those_that_exist(place: Place) -> None:
    dv = data_volume("class", {"blank": {}})
    dv["spec"]["storage"] |= {"storageClassName": "fast", "accessModes": ["ReadWriteOnce"]}

    place.create(dv)

    told = place.told("class", "fast")
    assert "local" in told


def test_a_claim_that_no_disk_can_hold_says_the_numbers_on_the_data_volume(place: Place) -> None:
    place.create(data_volume("huge", {"blank": {}}, "900Ti"))

    dv = place.until("datavolumes", "huge", lambda dv: bool(dv["status"].get("conditions")))
    bound = place.until(
        "datavolumes",
        "huge",
        lambda dv: any("are not promised" in c.get("message", "") for c in dv["status"]["conditions"]),
    )

    assert dv["status"]["phase"] == "Pending"
    assert (
        next(c for c in bound["status"]["conditions"] if c["type"] == "Bound")["reason"]
        == "ProvisioningFailed"
    )
    place.delete("datavolumes", "huge")


@pytest.mark.parametrize(
    ("name", "path", "words"),
    [
        ("missing", "missing.qcow2", "404"),
        ("html", "page.html", "HTML"),
        ("backing", "backing.qcow2", "backing file"),
    ],
)
def test_an_image_that_cannot_be_used_fails_at_once_and_says_why(
    place: Place, hostile: Callable[[str], str], name: str, path: str, words: str
) -> None:
    place.create(data_volume(name, {"http": {"url": hostile(path)}}))

    assert words in failed(place, name)
    assert nothing_visible(place, name)


def test_a_wrong_checksum_leaves_no_disk(place: Place, qcow2: str) -> None:
    wrong = "sha256:" + "0" * 64
    place.create(data_volume("sum", {"http": {"url": qcow2, "checksum": wrong}}))

    said = failed(place, "sum")

    assert "0" * 64 in said
    assert nothing_visible(place, "sum")


def test_a_port_in_use_is_named_with_the_way_out(yard: Yard, tmp_path: Path) -> None:
    port = yard.port()

    code, said = Yard.refused(tmp_path / "second", "--port", str(port))

    assert code == 4
    assert str(port) in said
    assert "--port" in said


def test_a_second_yard_on_the_same_directory_names_the_first(yard: Yard) -> None:
    code, said = Yard.refused(yard.directory, "--port", "0")

    assert code == 4
    assert str(yard.process.pid) in said


def test_a_directory_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "version").write_text("99\n")

    code, said = Yard.refused(tmp_path / "newer", "--port", "0")

    assert code == 3
    assert "newer" in said
