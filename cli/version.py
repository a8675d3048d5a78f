"""`diskyard version`."""

import click

from diskyard import VERSION


@click.command("version")
def version_command() -> None:
    """Show the version."""
    click.echo(f"diskyard {VERSION}")
