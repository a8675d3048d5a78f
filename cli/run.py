"""`diskyard run IMAGE`: from an image to its console, in one command."""

from pathlib import Path
from typing import Any

import click

from cli.reach import reaching
from cli.source import sized
from cli.wishes import RunWish

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command("run")
@click.argument("image")
@click.option("--name", default="", help="Of the machine. Default: from the image's file name.")
@click.option(
    "--memory", default="1Gi", show_default=True, metavar="SIZE", callback=sized, help="Of the machine."
)
@click.option("--cpus", type=click.IntRange(1), default=1, show_default=True, help="Of the machine.")
@click.option("--size", default="", metavar="SIZE", callback=sized,
              help="Of its disk. Default: that of the disk in the image; 16Gi beside an ISO.")  # fmt: skip
@click.option("--cdrom", "cdroms", multiple=True, metavar="ISO",
              help="A disc to go with it, such as drivers. May be repeated.")  # fmt: skip
@click.option("--cloud-init", type=_FILE, help="User data for cloud-init (NoCloud).")
@click.option("--ssh-key", type=_FILE, help="A public key, to be let in by cloud-init.")
@click.option("--console/--no-console", default=True, show_default=True, help="Join its serial console.")
@reaching
def run_command(**options: Any) -> None:
    """Import IMAGE, boot a machine from it, and join its console; Ctrl-] leaves that.

    \b
      diskyard run https://images.example.com/server.qcow2 --ssh-key ~/.ssh/id_ed25519.pub
      diskyard run ./installer.iso --size 40Gi
      diskyard run docker://quay.io/containerdisks/fedora:latest --memory 2Gi

    IMAGE is a URL (https, gs, docker) or a file here: a disk in any format that `diskyard import` reads, or an
    ISO, which is put before a new empty disk. Where no yard answers, one runs for as long as this command does.
    """
    from cli import running

    running.run(RunWish(**options))
