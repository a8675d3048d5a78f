"""`diskyard-controller`: the controllers and webhooks of DataVolumes, against any API server."""

import signal
import socket
import sys
import threading
import uuid
from pathlib import Path
from typing import Any, Final

import click

from datavolume_controller.program import ADMISSION, ALL, CONTROLLERS, Program, Settings
from diskyard import ending, log
from diskyard.errors import DiskyardError
from diskyard.kube.http import connect

LOST: Final = 1
"""Exit code for another replica's lead: whoever supervises starts this one again, to wait."""


@click.command()
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The API server. Default: $KUBECONFIG, ~/.kube/config, or the pod's own service account.",
)
@click.option(
    "--part",
    type=click.Choice([ALL, CONTROLLERS, ADMISSION]),
    default=ALL,
    show_default=True,
    help="Which part of it this replica is.",
)
@click.option(
    "--namespace", envvar="POD_NAMESPACE", default="cdi", show_default=True,
    help="Where its Lease and certificates are; $POD_NAMESPACE.",
)  # fmt: skip
@click.option("--host", default="0.0.0.0", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8443, show_default=True,
    help="Port of webhooks, /metrics, /healthz and /readyz, all over HTTPS; 0 takes a free one.",
)  # fmt: skip
@click.option(
    "--name", "names", multiple=True, metavar="HOST",
    help="A name or address that the API server calls the webhooks at, besides the Service's.",
)  # fmt: skip
@click.option("--elect/--no-elect", default=True, help="Wait for the Lease before working (the default).")
@click.option(
    "--workers", type=click.IntRange(1, 64), default=16, show_default=True, help="Threads a controller."
)
@click.option(
    "--drain", type=click.FloatRange(0, 60), default=0.0,
    help="With --part admission: seconds to serve on when told to stop.",
)  # fmt: skip
@click.option("-v", "verbosity", count=True, help="Say what is done; twice: every step.")
def command(kubeconfig: Path | None, verbosity: int, names: tuple[str, ...], **options: Any) -> None:
    """Run the controllers and webhooks of DataVolumes until told to stop."""
    log.start(log.level(str(verbosity)))
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    identity = f"{socket.gethostname()}_{uuid.uuid4()}"
    try:
        with Program(connect(kubeconfig), Settings(identity=identity, hosts=names, **options)) as program:
            click.echo(f"ready: {program.url}", err=True)
            if not program.run(stop):
                sys.exit(LOST)
    except DiskyardError as error:
        click.echo(f"diskyard-controller: {error}", err=True)
        sys.exit(LOST)


main = ending.at_once(command)


if __name__ == "__main__":
    main()
