"""The upload page, in the browser that people have."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.builders import eventually
from tests.flows.browser import Page, browser
from tests.flows.test_upload import MIB, Reached, holds, reached, token
from tests.flows.yard import Yard

SLOW = {"offline": False, "latency": 0, "downloadThroughput": -1}


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    if not shutil.which("chromium"):
        pytest.skip("there is no chromium here: packages.sh installs it")
    with browser(tmp_path / "browser") as found:
        yield found


@pytest.fixture(scope="module")
def session(yard: Yard, folder: Path) -> str:
    """A session's token, for the link that `diskyard up` prints."""
    assert yard.process.stdout
    printed = next(line for line in yard.process.stdout if "/#" in line).split()[-1]
    assert len(printed) < 60, printed
    with reached(yard, folder / "page-ca.crt") as client:
        code = printed.partition("#")[2]
        first = client.post(f"{client.url}/page/session", json={"code": code}, timeout=60)
        again = client.post(f"{client.url}/page/session", json={"code": code}, timeout=60)
    assert (first.status_code, again.status_code) == (200, 401), first.text
    return str(first.json()["token"])


@pytest.fixture
def proxy(yard: Yard, tmp_path: Path) -> Iterator[Reached]:
    with reached(yard, tmp_path / "ca.crt") as found:
        yield found


@pytest.fixture
def link(session: str, proxy: Reached) -> str:
    """A link for another browser."""
    return f"{proxy.url}/#{_asked(proxy, session, 'code').json()['code']}"


def test_a_file_is_uploaded_and_goes_on_after_a_reload(
    yard: Yard, link: str, page: Page, tmp_path: Path
) -> None:
    image = tmp_path / "My Image.img"
    image.write_bytes(os.urandom(24 * MIB))
    page.open(link)
    page.until("!document.getElementById('form').hidden")
    page.ask("Network.enable")
    page.ask("Network.emulateNetworkConditions", **SLOW, uploadThroughput=4 * MIB)

    page.choose(image)
    page.until("!document.getElementById('start').disabled")
    assert page.run("document.getElementById('name').value") == "my-image"
    assert page.run("document.getElementById('size').value") == "24Mi"
    page.run("document.getElementById('start').click()")
    page.until("document.getElementById('bar').value > 10")
    page.ask("Page.reload")

    page.until("!document.getElementById('again').hidden")
    assert "My Image.img is not complete" in page.run("document.getElementById('again').textContent")
    page.ask("Network.emulateNetworkConditions", **SLOW, uploadThroughput=-1)
    page.choose(image)
    page.until("!document.getElementById('start').disabled")
    page.run("document.getElementById('start').click()")

    page.until("!document.getElementById('done').hidden", 180)
    assert "my-image" in page.run("document.getElementById('use').textContent")
    assert holds(yard, "my-image", image)


def test_a_pause_and_a_dropped_line_cost_nothing(yard: Yard, link: str, page: Page, tmp_path: Path) -> None:
    image = tmp_path / "held.img"
    image.write_bytes(os.urandom(24 * MIB))
    page.open(link)
    page.until("!document.getElementById('form').hidden")
    page.ask("Network.enable")
    page.ask("Network.emulateNetworkConditions", **SLOW, uploadThroughput=2 * MIB)
    page.choose(image)
    page.until("!document.getElementById('start').disabled")
    page.run("document.getElementById('start').click()")
    page.until("document.getElementById('bar').value > 5")

    page.run("document.getElementById('pause').click()")
    page.until("document.getElementById('state').textContent.startsWith('Paused')")
    page.ask("Network.emulateNetworkConditions", **{**SLOW, "offline": True}, uploadThroughput=2 * MIB)
    page.run("document.getElementById('pause').click()")
    page.until("document.getElementById('state').textContent.startsWith('The line is down')")
    page.ask("Network.emulateNetworkConditions", **SLOW, uploadThroughput=-1)

    page.until("!document.getElementById('done').hidden", 180)
    assert holds(yard, "held", image)
    assert page.run("document.getElementById('problem').hidden")


def test_what_is_refused_is_told_and_another_file_can_be_given(link: str, page: Page, tmp_path: Path) -> None:
    wrong = tmp_path / "page.img"
    wrong.write_bytes(b"<!DOCTYPE html><html></html>" * 10_000)
    page.open(link)
    page.until("!document.getElementById('form').hidden")
    page.choose(wrong)
    page.until("!document.getElementById('start').disabled")

    page.run("document.getElementById('start').click()")

    page.until("document.getElementById('problem').textContent.includes('web page')", 120)
    assert not page.run("document.getElementById('form').hidden")


@pytest.mark.parametrize("file", ["page.css", "vendor/tus.min.js", "page.js"])
def test_a_file_that_does_not_come_is_asked_for_again(link: str, page: Page, file: str) -> None:
    page.ask("Network.enable")
    page.ask("Network.setBlockedURLs", urls=[f"*/{file}"])
    page.open(link)
    page.until("document.title && document.readyState === 'complete'")

    page.ask("Network.setBlockedURLs", urls=[])

    page.until(
        "!document.getElementById('form').hidden && window.tus && document.styleSheets[0].cssRules.length"
    )


@pytest.mark.parametrize("fragment", ["", "#0123456789abcdef"], ids=["none", "a code that was used"])
def test_who_has_no_link_is_told_where_it_is(link: str, page: Page, fragment: str) -> None:
    page.open(link.split("#", maxsplit=1)[0] + fragment)

    page.until("document.getElementById('problem').textContent.includes('diskyard up')")
    assert page.run("document.getElementById('form').hidden")


def _asked(proxy: Reached, bearer: str, path: str, **body: object) -> requests.Response:
    headers = {"Authorization": f"Bearer {bearer}"}
    return proxy.post(f"{proxy.url}/page/{path}", json=body, headers=headers, timeout=60)


def test_a_disk_that_is_there_is_not_taken_for_the_one_that_is_sent(
    yard: Yard, session: str, proxy: Reached
) -> None:
    bearer = session
    wanted = {"name": "taken", "size": "1Mi"}

    first = _asked(proxy, bearer, "uploads", **wanted)
    eventually(lambda: _state(proxy, bearer)["ready"], 120)
    same = _asked(proxy, bearer, "uploads", **wanted)
    larger = _asked(proxy, bearer, "uploads", **(wanted | {"size": "2Mi"}))
    bearer_of_one = {"Authorization": f"Bearer {token(yard, 'taken')}"}
    sent = proxy.post(f"{proxy.url}/v1beta1/upload", data=os.urandom(MIB), headers=bearer_of_one, timeout=60)
    eventually(lambda: _state(proxy, bearer)["done"], 120)
    done = _asked(proxy, bearer, "uploads", **wanted)
    again = _asked(proxy, bearer, "uploads", **wanted, again=True)

    answers = [first, same, larger, sent, done, again]
    assert [each.status_code for each in answers] == [200, 200, 409, 200, 409, 200]
    assert "choose another name" in done.text


def _state(proxy: Reached, bearer: str) -> dict[str, object]:
    headers = {"Authorization": f"Bearer {bearer}"}
    return dict(proxy.get(f"{proxy.url}/page/uploads/taken", headers=headers, timeout=60).json())


def test_a_session_opens_the_page_and_nothing_else(yard: Yard, session: str, proxy: Reached) -> None:
    bearer = session
    upload = {"Authorization": f"Bearer {bearer}"}

    assert proxy.post(f"{proxy.url}/v1beta1/upload", headers=upload, timeout=60).status_code == 400
    assert _asked(proxy, token(yard, "any"), "session").status_code == 401
    assert _asked(proxy, "", "session").status_code == 401
    assert _asked(proxy, bearer, "session").json()["namespace"] == "default"
