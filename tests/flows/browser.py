"""A headless Chromium, driven by its own DevTools protocol: nothing but the browser has to be installed."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import requests
import websocket

from tests.builders import eventually

OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--ignore-certificate-errors", "--remote-debugging-port=0", "--disable-extensions", "--mute-audio",
    "--disable-background-networking", "--disable-component-update", "--no-proxy-server", "--enable-auto-reload",
)  # fmt: skip


@dataclass
class Page:
    """One tab."""

    socket: websocket.WebSocket
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """A command's answer; events that come meanwhile are dropped."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            said = json.loads(self.socket.recv())
            if said.get("id") == number:
                assert "error" not in said, said
                return dict(said["result"])

    def open(self, url: str) -> None:
        """Go there; again where a network of this machine has changed meanwhile, which ends all that is loading."""
        eventually(lambda: "errorText" not in self.ask("Page.navigate", url=url))

    def run(self, script: str) -> Any:
        """What a script is worth in the page."""
        said = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    def until(self, script: str, seconds: float = 120) -> Any:
        """Its worth once that is true; in the failure, what the page shows."""
        try:
            return eventually(lambda: self.run(script), seconds)
        except AssertionError as error:
            raise AssertionError(
                f"{script}: the page says {self.run('document.body.innerText')!r}"
            ) from error

    def choose(self, file: Path) -> None:
        """Give a file to the page's own input."""
        root = self.ask("DOM.getDocument")["root"]["nodeId"]
        node = self.ask("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        self.ask("DOM.setFileInputFiles", nodeId=node, files=[str(file)])


def _port(file: Path) -> str:
    """What a browser has written there; empty as long as it has not."""
    try:
        return (file.read_text().split() or [""])[0]
    except FileNotFoundError:
        return ""


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A browser with one empty tab; it ends with the test."""
    folder.mkdir(exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["chromium", *OPTIONS, f"--user-data-dir={folder}", "about:blank"], stdout=log, stderr=log
        )
    try:
        port = eventually(lambda: _port(folder / "DevToolsActivePort"), 120)
        with requests.Session() as session:
            session.trust_env = False
            tabs = eventually(
                lambda: [
                    t
                    for t in session.get(f"http://127.0.0.1:{port}/json", timeout=60).json()
                    if t["type"] == "page"
                ],
                60,
            )
        socket = websocket.create_connection(
            tabs[0]["webSocketDebuggerUrl"], timeout=120, suppress_origin=True, http_no_proxy=["127.0.0.1"]
        )
        with contextlib.closing(socket):
            yield Page(socket)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
