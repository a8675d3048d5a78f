"""`diskyard start`, `stop`, `restart`, `pause`, `unpause`, `console`: what virtctl does, without virtctl; `domain`."""

import sys
from pathlib import Path
from typing import Final

import click

from cli.reach import Command, client_of, reaching, tell_each


def _named(command: Command) -> Command:
    """Give a command the machines that it is about."""
    names = click.argument("names", metavar="[NAME]...", nargs=-1)
    file = click.option("-f", "--filename", "file", help="The machines of this file.")
    return names(file(command))


Names = tuple[str, ...]
WAIT: Final = 300.0
"""Seconds to wait for a guest to run."""


@click.command("start")
@_named
@reaching
def start_command(names: Names, file: str | None, kubeconfig: Path | None, namespace: str) -> None:
    """Start machines."""
    from cli import guests

    machines = guests.machines(names, file, namespace)
    tell_each(kubeconfig, machines, lambda client, key: guests.changed(client, key, "start", {}))


@click.command("stop")
@click.option("--grace-period", type=click.IntRange(min=0), help="Seconds to shut down in; 0: off at once.")
@_named
@reaching
def stop_command(
    names: Names, file: str | None, grace_period: int | None, kubeconfig: Path | None, namespace: str
) -> None:
    """Stop machines: press the power button, and take the power away when their time is over."""
    from cli import guests

    options = {} if grace_period is None else {"gracePeriod": grace_period}
    machines = guests.machines(names, file, namespace)
    tell_each(kubeconfig, machines, lambda client, key: guests.changed(client, key, "stop", options))


@click.command("restart")
@click.option("--force", is_flag=True, help="Take the power away at once.")
@_named
@reaching
def restart_command(
    names: Names, file: str | None, force: bool, kubeconfig: Path | None, namespace: str
) -> None:
    """Stop machines and start them again."""
    from cli import guests

    options = {"gracePeriodSeconds": 0} if force else {}
    machines = guests.machines(names, file, namespace)
    tell_each(kubeconfig, machines, lambda client, key: guests.changed(client, key, "restart", options))


@click.command("pause")
@_named
@reaching
def pause_command(names: Names, file: str | None, kubeconfig: Path | None, namespace: str) -> None:
    """Halt guests where they are; they keep their memory."""
    from cli import guests

    machines = guests.machines(names, file, namespace)
    tell_each(kubeconfig, machines, lambda client, key: guests.ordered(client, key, "pause"))


@click.command("unpause")
@_named
@reaching
def unpause_command(names: Names, file: str | None, kubeconfig: Path | None, namespace: str) -> None:
    """Let halted guests go on."""
    from cli import guests

    machines = guests.machines(names, file, namespace)
    tell_each(kubeconfig, machines, lambda client, key: guests.ordered(client, key, "unpause"))


@click.command("console")
@click.argument("name")
@click.option("--timeout", type=click.IntRange(min=0), default=300, show_default=True,
              help="Seconds to wait for the guest to run.")  # fmt: skip
@reaching
def console_command(name: str, timeout: int, kubeconfig: Path | None, namespace: str) -> None:
    """Join a guest's serial console, beside others who look; Ctrl-] leaves it."""
    from cli import guests, terminal
    from diskyard.api.meta import Key

    stream = guests.console(client_of(kubeconfig), Key(name, namespace), timeout)
    click.echo(f"Connected to the console of {name}. Press Enter if nothing shows; Ctrl-] leaves.", err=True)
    sys.exit(terminal.joined(stream))


@click.command("domain")
@click.argument("name")
@reaching
def domain_command(name: str, kubeconfig: Path | None, namespace: str) -> None:
    """Show the libvirt XML of a guest that runs."""
    from cli import guests
    from diskyard.api.meta import Key

    click.echo(guests.domain(client_of(kubeconfig), Key(name, namespace)), nl=False)


@click.command("vnc")
@click.argument("name")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True,
              help="Port on this machine's loopback for viewers; 0: any free one.")  # fmt: skip
@click.option("--proxy-only", is_flag=True, help="Start no viewer: say where the screen is, until Ctrl-C.")
@reaching
def vnc_command(name: str, port: int, proxy_only: bool, kubeconfig: Path | None, namespace: str) -> None:
    """Show a guest's screen, beside others who look."""
    import threading

    from cli import guests, screen
    from diskyard import ending
    from diskyard.api.meta import Key

    client, key = client_of(kubeconfig), Key(name, namespace)
    guests.opened(client, key, "vnc", WAIT).close(timeout=1)
    with screen.served(port, lambda: guests.opened(client, key, "vnc", 0)) as listening:
        number = listening.getsockname()[1]
        started = None if proxy_only else screen.viewer(number)
        if started is None:
            click.echo(
                f"The screen of {name} is at vnc://127.0.0.1:{number} until Ctrl-C, for any viewer.", err=True
            )
            ending.until(threading.Event())
        else:
            started.wait()
