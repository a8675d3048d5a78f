"""Guests' consoles and screens, in the browser that people have."""

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
import requests

from diskyard.kube.http import connect
from pages import server
from tests.builders import eventually
from tests.flows.browser import Page, browser
from tests.flows.test_upload import Reached, reached
from tests.flows.yard import Yard, data_volume, machine

CONSOLE = "/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachineinstances/seen/console"
TEXT = (
    "Array.from({length: viewing.terminal.buffer.active.length}, "
    "(_, n) => viewing.terminal.buffer.active.getLine(n).translateToString(true)).join('\\n')"
)
PICTURE = "document.querySelector('#screen canvas').toDataURL()"
WHOLE = (
    "(() => { const text = document.querySelector('.xterm-screen').getBoundingClientRect(), "
    "view = document.querySelector('.xterm-viewport'), box = document.getElementById('terminal'); "
    "return text.right <= view.getBoundingClientRect().left + view.clientWidth "
    "&& text.bottom <= box.getBoundingClientRect().bottom })()"
)
"""Whether the terminal's text ends before its scroll bar and above its box's edge."""
CONNECTED = "document.getElementById('link').textContent === 'connected'"


@pytest.fixture(scope="module")
def proxy(yard: Yard, folder: Path) -> Iterator[Reached]:
    with reached(yard, folder / "guest-page-ca.crt") as found:
        yield found


@pytest.fixture(scope="module")
def session(yard: Yard) -> str:
    """A session's token, as a link is traded for one."""
    client = connect(yard.kubeconfig)
    try:
        return server.granted(client, server.SESSION, server.SESSION_LIFE)
    finally:
        client.close()


@pytest.fixture(scope="module")
def seen(yard: Yard, guest_url: str) -> Iterator[Yard]:
    """The yard, with a guest `seen` that has booted."""
    yard.create(data_volume("seen", {"http": {"url": guest_url}}, "1Gi"))
    yard.create(machine("seen", "seen"))
    yard.console_says("seen", "This is a shell", 180)
    yield yard
    yard.delete("virtualmachines", "seen")
    yard.gone("virtualmachines", "seen")
    yard.delete("datavolumes", "seen")


@pytest.fixture
def page(seen: Yard, proxy: Reached, session: str, tmp_path: Path) -> Iterator[Page]:
    """A browser that has a session, at the list of guests."""
    assert seen.ready
    if not shutil.which("chromium"):
        pytest.skip("there is no chromium here: packages.sh installs it")
    with browser(tmp_path / "browser") as found:
        found.open(f"{proxy.url}/guests")
        found.until("document.getElementById('list') !== null")
        found.run(f"localStorage.setItem('diskyard-session', {session!r})")
        found.until("document.querySelector('[data-door=\"default/seen/console\"]:enabled') !== null")
        yield found


def joined(page: Page, door: str) -> None:
    page.until(
        f"(button => button && !button.disabled && (button.click(), true))"
        f"(document.querySelector('[data-door=\"default/seen/{door}\"]'))"
    )
    page.until(CONNECTED)


def typed(page: Page, keys: str) -> None:
    """Press keys, one by one; the last is Enter."""
    for key in keys:
        page.ask("Input.dispatchKeyEvent", type="keyDown", text=key, key=key)
        page.ask("Input.dispatchKeyEvent", type="keyUp", key=key)
    enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
    page.ask("Input.dispatchKeyEvent", type="keyDown", text="\r", **enter)
    page.ask("Input.dispatchKeyEvent", type="keyUp", **enter)


def test_a_browser_types_into_a_guests_console_beside_others_and_after_a_broken_line(
    page: Page, seen: Yard
) -> None:
    assert "Running" in page.run("document.getElementById('list').innerText")
    joined(page, "console")
    page.until(WHOLE)
    client = connect(seen.kubeconfig)
    stream = client.stream(CONSOLE, "plain.kubevirt.io")

    typed(page, "echo x$((3+4))y")

    page.until(f"({TEXT}).includes('x7y')")
    beside = b""
    while b"x7y" not in beside:
        beside += stream.recv()
    page.run("window.first = viewing.socket; first.close()")
    page.until(f"viewing.socket !== first && {CONNECTED}")
    typed(page, "echo x$((4+5))y")
    page.until(f"({TEXT}).includes('x9y')")
    stream.close()
    client.close()


@pytest.mark.parametrize("file", ["guests.js", "core/util/browser.js", "xterm.js"])
def test_a_file_that_does_not_come_is_asked_for_again(page: Page, proxy: Reached, file: str) -> None:
    page.ask("Network.enable")
    page.ask("Network.setCacheDisabled", cacheDisabled=True)
    page.ask("Network.setBlockedURLs", urls=[f"*/{file}"])
    page.open(f"{proxy.url}/guests?again")
    page.until("document.title && document.readyState === 'complete'")

    page.ask("Network.setBlockedURLs", urls=[])

    page.until("document.querySelector('[data-door=\"default/seen/console\"]:enabled') !== null")
    page.until("window.Terminal && window.FitAddon")


def test_a_browser_sees_a_guests_screen_change_and_comes_back_after_a_broken_line(
    page: Page, seen: Yard
) -> None:
    joined(page, "vnc")
    page.until("document.querySelector('#screen canvas')?.width > 100")
    page.until(
        "document.querySelector('#screen canvas').clientWidth <= document.getElementById('screen').clientWidth"
    )
    before = page.run(PICTURE)
    client = connect(seen.kubeconfig)
    stream = client.stream(CONSOLE, "plain.kubevirt.io")
    stream.send_binary(b"echo a change on the screen > /dev/tty0\n")

    after = eventually(lambda: (now := page.run(PICTURE)) != before and now, 60)

    assert after
    page.run("window.first = viewing.rfb; viewing.rfb.disconnect()")
    page.until(f"viewing.rfb !== first && {CONNECTED}")
    stream.close()
    client.close()


def test_only_who_has_a_session_sees_guests_and_a_token_opens_one_door(
    seen: Yard, proxy: Reached, session: str
) -> None:
    assert seen.ready
    where = f"{proxy.url}/page/guests"
    known = {"Authorization": f"Bearer {session}"}

    assert proxy.get(where, timeout=60).status_code == 401
    assert "seen" in [each["name"] for each in proxy.get(where, headers=known, timeout=60).json()["guests"]]
    made = proxy.post(f"{where}/default/seen/console/token", headers=known, timeout=60).json()["token"]
    said = jwt.decode(made, options={"verify_signature": False})
    assert said["exp"] - said["iat"] == 60
    assert refused(proxy, f"{where}/default/seen/vnc", made) == 401
    assert refused(proxy, f"{where}/default/seen/console", session) == 401
    assert refused(proxy, f"{where}/default/seen/console", "") == 401
    assert proxy.post(f"{where}/default/seen/disk/token", headers=known, timeout=60).status_code == 400


def refused(proxy: Reached, where: str, token: str) -> int:
    """How a WebSocket with that token is answered."""
    bearer = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
    asked: requests.Response = proxy.get(
        where,
        headers={
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Protocol": f"plain.kubevirt.io, base64url.bearer.authorization.k8s.io.{bearer}",
        },
        timeout=60,
    )
    return asked.status_code
