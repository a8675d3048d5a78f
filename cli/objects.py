"""`diskyard apply`, `get`, `delete` and `logs`: thin commands over the API, for a machine without kubectl."""

import sys
from pathlib import Path
from typing import Any, Final

import click

from cli.reach import client_of, reaching, tell_each

FORMATS: Final = ("wide", "name", "yaml", "json")


@click.command("apply")
@click.option(
    "-f", "--filename", "file", required=True, help="A file or folder of YAML or JSON; - is standard input."
)
@reaching
def apply_command(file: str, kubeconfig: Path | None, namespace: str) -> None:
    """Create or change the objects of a file.

    An object that is there already is changed by a merge patch: a field that the file no longer has stays.
    """
    from cli import acts
    from cli.manifest import wanted

    tell_each(kubeconfig, wanted(file, namespace), acts.applied)


@click.command("get")
@click.argument("what", metavar="KIND[,KIND...][/NAME]")
@click.argument("name", required=False)
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="In every namespace.")
@click.option("-l", "--selector", default="", help="Only objects with these labels, such as app=web.")
@click.option("-w", "--watch", is_flag=True, help="Go on showing every change.")
@click.option("-o", "--output", type=click.Choice(FORMATS), help="How to show them. Default: a table.")
@reaching
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
    shows.show(client_of(kubeconfig), view, watch=options["watch"])


@click.command("delete")
@click.argument("what", metavar="KIND[/NAME]", required=False)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("-f", "--filename", "file", help="Delete the objects of this file.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until they are gone.")
@reaching
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
    tell_each(kubeconfig, targets, lambda client, target: acts.deleted(client, *target, wait=options["wait"]))


@click.command("logs")
@click.argument("what", metavar="POD|vm/NAME|dv/NAME")
@click.option("-f", "--follow", is_flag=True, help="Go on until the container ends.")
@click.option("-c", "--container", default="", help="Which container, where a pod has several.")
@click.option("--tail", type=click.IntRange(min=0), help="Only so many lines from the end.")
@click.option("-p", "--previous", is_flag=True, help="Of the container's life before this one.")
@reaching
def logs_command(what: str, kubeconfig: Path | None, namespace: str, **options: Any) -> None:
    """Show what a pod, or a guest's serial console, says.

    \b
      diskyard logs importer-my-disk
      diskyard logs -f vm/my-guest
    """
    from cli import acts
    from diskyard.kube.http import LogWish

    client = client_of(kubeconfig)
    wish = LogWish(options["container"], options["follow"], options["tail"], previous=options["previous"])
    for piece in client.logs(acts.speaking_pod(client, what, namespace), wish):
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
