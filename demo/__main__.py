"""`make demo`: from a URL to a guest that speaks, on one machine with no cluster. Leaves nothing running.

python -m demo [--once] [--cache DIR] [--payload BYTES]
"""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli import acts
from cli.display import say, step
from cli.following import filled, states
from cli.manifest import Wanted, wanted
from demo import image
from demo.server import served
from demo.yard import yard
from diskyard import ending
from diskyard.api import meta
from diskyard.api.meta import DATA_VOLUME, MACHINE, Key
from diskyard.api.quantity import MIB, human
from diskyard.errors import ApiError, DiskyardError, NotFound
from diskyard.kube.http import HttpClient, LogWish, connect

MANIFEST: Final = Path(__file__).parents[1] / "docs/examples/quickstart.yaml"
GUEST: Final = Key("quickstart", "default")
PAYLOAD: Final = 512 * MIB
"""Bytes of noise in the image, so that there is something to fetch."""
IMPORT_WITHIN: Final = 300
BOOT_WITHIN: Final = 180
FIRST, LAST = "Hello from a guest", "ends it."
"""What the guest's own words begin and end with."""


@dataclass(frozen=True)
class Setting:
    """How the demo runs."""

    cache: Path
    payload: int
    stay: bool
    """Whether it goes on until Ctrl-C."""


def main() -> int:
    """Run the demo; the exit code."""
    setting = _setting()
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    shown = False
    try:
        for _ in _demo(setting):
            shown = True
    except KeyboardInterrupt:
        step("Stopped; nothing is left running")
        return 0 if shown else 130
    except DiskyardError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    step("Done; nothing is left running")
    return 0


def _demo(setting: Setting) -> Iterator[None]:
    """The whole demo; yields once, when all has been shown."""
    step("Make a small bootable image of Debian's kernel and busybox (kept for the next time)")
    disk = image.build(setting.cache, payload=setting.payload)
    say(f"{disk}, {human(disk.stat().st_size)}")
    step("Run a yard: diskyard up")
    with (
        served(disk) as url,
        yard(setting.cache / "yard") as running,
        closing(connect(running.kubeconfig)) as client,
    ):
        say(f"ready at {client.url}")
        _clear(client)
        _tell(client, url, disk)
        _invite(running.kubeconfig)
        yield
        if setting.stay:
            say("")
            say("Press Ctrl-C to stop and clean up.")
            ending.until(threading.Event())


def _setting() -> Setting:
    parser = argparse.ArgumentParser(prog="python -m demo", description="From a URL to a guest that speaks.")
    parser.add_argument("--once", action="store_true", help="clean up and end when all has been shown")
    parser.add_argument(
        "--cache", type=Path, default=image.CACHE, help="where image and yard are (%(default)s)"
    )
    parser.add_argument(
        "--payload", type=int, default=PAYLOAD, help="bytes of noise in the image (%(default)s)"
    )
    given = parser.parse_args()
    return Setting(given.cache.absolute(), given.payload, stay=sys.stdout.isatty() and not given.once)


def _tell(client: HttpClient, url: str, disk: Path) -> None:
    """The story: apply, import, boot."""
    step(f"diskyard apply -f docs/examples/quickstart.yaml    (its URL: {url})")
    for each in _manifest(url):
        say(acts.applied(client, each))
    step("Import the image into a claim")
    seconds = _show_import(client)
    size = disk.stat().st_size
    say(f"{human(size)} fetched and converted in {seconds:.1f} s: {human(size / seconds)}/s")
    step("Boot a guest from it")
    heard = _show_guest(client)
    expected = image.expected_sum(disk)
    if expected not in heard:
        raise DiskyardError(f"expected the guest to read a disk with SHA-256 {expected}, it said: {heard}")
    say("")
    say(f"That sum is the one of the image that was served: {expected[:16]}...")


def _manifest(url: str) -> list[Wanted]:
    found = wanted(str(MANIFEST), GUEST.namespace)
    for each in found:
        if each.kind.kind == DATA_VOLUME.kind:
            each.obj["spec"]["source"]["http"]["url"] = url
    return found


def _show_import(client: HttpClient) -> float:
    """Show the transfer until it is done; the seconds it took."""
    begun = time.monotonic()
    filled(client, GUEST, IMPORT_WITHIN)
    return time.monotonic() - begun


def _show_guest(client: HttpClient) -> str:
    """Show the guest's words as they come; all of them."""
    told = ""
    shown = 0
    for machine in states(client, MACHINE, GUEST, BOOT_WITHIN):
        status = str(meta.status(machine).get("printableStatus") or "Stopped")
        if status != told:
            told = status
            say(f"machine: {status}")
        words = _words(client)
        for line in words[shown:]:
            say(line)
        shown = len(words)
        if words and LAST in words[-1]:
            return "\n".join(words)
    raise AssertionError("unreachable: `states` ends by an error")


def _words(client: HttpClient) -> list[str]:
    """What the guest has said so far on its serial console, from its greeting on."""
    try:
        pod = acts.speaking_pod(client, f"vm/{GUEST.name}", GUEST.namespace)
        lines = b"".join(client.logs(pod, LogWish())).decode(errors="replace").splitlines()
    except ApiError:  # no pod yet, or a container that has not started
        return []
    first = next((number for number, line in enumerate(lines) if FIRST in line), len(lines))
    last = next((number for number, line in enumerate(lines) if LAST in line), len(lines))
    return lines[first : last + 1]


def _clear(client: HttpClient) -> None:
    """Take away what a demo that was killed has left."""
    for kind in (MACHINE, DATA_VOLUME):
        with suppress(NotFound):
            acts.deleted(client, kind, GUEST, wait=True)


def _invite(kubeconfig: Path) -> None:
    program = Path(sys.executable).with_name("diskyard")
    step("Look around, in another terminal")
    say(f"export KUBECONFIG={kubeconfig}")
    say(f"{program} get dv,pvc,vm,vmi,pods")
    say(f"{program} logs -f vm/{GUEST.name}")


if __name__ == "__main__":
    sys.exit(main())
