"""`diskyard up`: the yard in the foreground."""

import functools
import gc
import resource
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import click

from cli.reach import allowing
from diskyard.errors import InvalidRequest

if TYPE_CHECKING:
    from standalone.station import Station
    from standalone.yard import Means

DEFAULT_PORT: Final = 7443
_OPEN_FILES: Final = 65_536
_LOOK_EVERY: Final = 2.0
"""Seconds between two looks at whether the data directory is still there."""


def _with_means(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say what of the machine a yard may use."""

    @functools.wraps(command)
    def reading(*, allowed: tuple[Path, ...], guest_network: str | None, **others: Any) -> None:
        from standalone.node.network import plan
        from standalone.yard import Means

        subnet = plan.parsed(guest_network) if guest_network else None
        command(means=Means(tuple(path.absolute() for path in allowed), subnet), **others)

    network = click.option(
        "--guest-network",
        metavar="CIDR",
        help="Addresses of the guests, such as 10.99.0.0/22 (as root). Default: some that nothing here uses.",
    )
    return network(allowing(reading))


@click.command("up")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where objects and disks are kept. Default: $DISKYARD_DATA_DIR, /var/lib/diskyard for root, "
    "~/.local/share/diskyard for others.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Port of the API server on 127.0.0.1; 0 takes a free one.",
)
@click.option(
    "--listen",
    metavar="ADDRESS",
    help="Let other machines in at this address or name of this machine; DIR/kubeconfig-ADDRESS is for them.",
)
@_with_means
@click.option("--verbose", is_flag=True, help="Log every step to standard error.")
def up_command(data_dir: Path | None, port: int, listen: str | None, verbose: bool, means: "Means") -> None:
    """Run a yard: an API server, controllers and a node on this machine.

    Ctrl-C stops every pod gracefully, then ends. SIGTERM ends at once and leaves the pods running for the next `up`.
    """
    gc.disable()  # what is made until it is ready stays: to look for what can go costs a tenth of the start
    from diskyard import log
    from standalone import directory
    from standalone.reach import Reach
    from standalone.yard import Yard

    log.start("DEBUG" if verbose else "WARNING")
    _allow_files()
    ends = Ends()
    place = directory.Directory((data_dir or directory.default()).absolute())
    reach = Reach.parsed(port, listen)
    with Yard.open(place, reach, lambda text: click.echo(text, err=True), means) as yard:
        click.echo(
            f"ready: {yard.url} · export KUBECONFIG={yard.kubeconfig} · then: kubectl get dv,vm,vmi -A "
            "(without kubectl: diskyard get vm)"
        )
        click.echo(f"to upload an image in a browser, within the hour: {yard.page}")
        gc.freeze()
        gc.enable()
        ends.bring_about(yard, place.path)


def _allow_files() -> None:
    """As many open files as this user may have: of a shell's 1,024, silent connections alone could take all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


class Ends:
    """The signals that end a yard, as an event to wait for. Ctrl-C while pods stop changes nothing: they do stop."""

    def __init__(self) -> None:
        self._came = threading.Event()
        self._signal = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def bring_about(self, running: "Station", directory: Path) -> None:
        """Wait; end the pods as the signal says. Raises InvalidRequest when the directory is lost, pods killed."""
        while not self._came.wait(_LOOK_EVERY):
            if running.lost:
                running.kill_pods()
                raise InvalidRequest(
                    f"{directory} was removed, or another directory put in its place, while it was in use: objects and "
                    "disks are lost, all pods were killed. End `diskyard` with Ctrl-C before you remove what it keeps"
                )
        if self._signal == signal.SIGINT:
            click.echo("stopping the pods ...", err=True)
            running.stop_pods()

    def _note(self, number: int, _: FrameType | None) -> None:
        if not self._came.is_set():
            self._signal = number
            self._came.set()
