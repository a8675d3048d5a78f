"""`diskyard apply`, `get`, `delete` and `logs`: thin commands over the API, for a machine without kubectl."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from diskyard.kube.http import HttpClient

Command = TypeVar("Command", bound=Callable[..., Any])
FORMATS: Final = ("wide", "name", "yaml", "json")


def _reaching(command: Command) -> Command:
    """Give a command the options that say which server and which namespace."""
    server = click.option(
        "--kubeconfig",
        type=click.Path(path_type=Path, dir_okay=False),
        help="How to reach the server. Default: $KUBECONFIG, else the one of `diskyard up`'s default data directory.",
    )
    place = click.option("-n", "--namespace", default="default", show_default=True, help="Where objects are.")
    return server(place(command))


@click.command("apply")
@click.option(
    "-f", "--filename", "file", required=True, help="A file or folder of YAML or JSON; - is standard input."
)
@_reaching
def apply_command(file: str, kubeconfig: Path | None, namespace: str) -> None:
    """Create or change the objects of a file.

    An object that is there already is changed by a merge patch: a field that the file no longer has stays.
    """
    from cli import acts
    from cli.manifest import wanted

    _each(wanted(file, namespace), lambda each: acts.applied(_client(kubeconfig), each))


@click.command("get")
@click.argument("what", metavar="KIND[,KIND...][/NAME]")
@click.argument("name", required=False)
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="In every namespace.")
@click.option("-l", "--selector", default="", help="Only objects with these labels, such as app=web.")
@click.option("-w", "--watch", is_flag=True, help="Go on showing every change.")
@click.option("-o", "--output", type=click.Choice(FORMATS), help="How to show them. Default: a table.")
@_reaching
def get_command(what: str, name: str | None, kubeconfig: Path | None, **options: Any) -> None:
    """Show objects.

    \b
      diskyard get dv,vm,vmi -A
      diskyard get vm my-guest -o yaml
      diskyard get dv -w
    """
    from cli import shows
    from cli.kinds import kinds

    what, _, inline = what.partition("/")
    view = shows.View(
        kinds=kinds(what),
        name=name or inline,
        namespace=None if options["everywhere"] else options["namespace"],
        labels=options["selector"],
        output=options["output"] or "",
    )
    shows.show(_client(kubeconfig), view, watch=options["watch"])


@click.command("delete")
@click.argument("what", metavar="KIND[/NAME]", required=False)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("-f", "--filename", "file", help="Delete the objects of this file.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until they are gone.")
@_reaching
def delete_command(
    what: str | None, names: tuple[str, ...], file: str | None, kubeconfig: Path | None, **options: Any
) -> None:
    """Delete objects."""
    from cli import acts
    from cli.manifest import wanted

    if file and not what:
        targets = [(each.kind, each.key) for each in reversed(wanted(file, options["namespace"]))]
    elif what and not file:
        targets = acts.targets(what, names, options["namespace"])
    else:
        raise click.UsageError("expected KIND and NAME, or -f FILE")
    _each(targets, lambda target: acts.deleted(_client(kubeconfig), *target, wait=options["wait"]))


@click.command("logs")
@click.argument("what", metavar="POD|vm/NAME|dv/NAME")
@click.option("-f", "--follow", is_flag=True, help="Go on until the container ends.")
@click.option("-c", "--container", default="", help="Which container, where a pod has several.")
@click.option("--tail", type=click.IntRange(min=0), help="Only so many lines from the end.")
@click.option("-p", "--previous", is_flag=True, help="Of the container's life before this one.")
@_reaching
def logs_command(what: str, kubeconfig: Path | None, namespace: str, **options: Any) -> None:
    """Show what a pod, or a guest's serial console, says.

    \b
      diskyard logs importer-my-disk
      diskyard logs -f vm/my-guest
    """
    from cli import acts
    from diskyard.kube.http import LogWish

    client = _client(kubeconfig)
    wish = LogWish(options["container"], options["follow"], options["tail"], previous=options["previous"])
    for piece in client.logs(acts.speaking_pod(client, what, namespace), wish):
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


Item = TypeVar("Item")


def _each(items: list[Item], act: Callable[[Item], str]) -> None:
    """Act on every item and say what became of it; those that fail do not stop the others, but the exit code tells."""
    from diskyard.errors import ApiError

    failed = False
    for item in items:
        try:
            click.echo(act(item))
        except ApiError as error:
            failed = True
            click.echo(f"diskyard: {error}", err=True)
    if failed:
        sys.exit(1)


def _client(kubeconfig: Path | None) -> "HttpClient":
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
