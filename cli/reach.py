"""How commands reach an API server, and how they tell what became of each of many things."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from diskyard.kube.http import HttpClient

Command = TypeVar("Command", bound=Callable[..., Any])
Item = TypeVar("Item")


def reaching(command: Command) -> Command:
    """Give a command the options that say which server and which namespace."""
    server = click.option(
        "--kubeconfig",
        type=click.Path(path_type=Path, dir_okay=False),
        help="How to reach the server. Default: $KUBECONFIG, else the one of `diskyard up`'s default data directory.",
    )
    place = click.option("-n", "--namespace", default="default", show_default=True, help="Where objects are.")
    return server(place(command))


def allowing(command: Command) -> Command:
    """Give a command the option that opens directories of the machine to pods and volumes."""
    return click.option(
        "--allow-host-path",
        "allowed",
        type=click.Path(path_type=Path, file_okay=False),
        multiple=True,
        metavar="DIR",
        help="Let pods and volumes name this directory of the machine and all below it (hostPath). May be repeated.",
    )(command)


def tell_each(
    kubeconfig: Path | None, items: Sequence[Item], act: Callable[["HttpClient", Item], str]
) -> None:
    """Act on every item and say what became of it; those that fail do not stop the others, but the exit code tells."""
    from diskyard.errors import ApiError

    if not items:
        return
    client, failed = client_of(kubeconfig), False
    for item in items:
        try:
            click.echo(act(client, item))
        except ApiError as error:
            failed = True
            click.echo(f"diskyard: {error}", err=True)
    if failed:
        sys.exit(1)


def client_of(kubeconfig: Path | None) -> "HttpClient":
    """The server that was asked for. Raises InvalidRequest where none can be told."""
    from diskyard.errors import InvalidRequest
    from diskyard.kube.http import connect
    from standalone import directory

    if kubeconfig is None and not os.environ.get("KUBECONFIG"):
        kubeconfig = directory.Directory(directory.default()).kubeconfig
        if not kubeconfig.exists():
            raise InvalidRequest(
                f"no yard has run here: expected {kubeconfig}. Start one by `diskyard up`, "
                "or name a server by --kubeconfig or $KUBECONFIG"
            )
    return connect(kubeconfig)
