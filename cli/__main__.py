"""The door: `diskyard COMMAND`. Imports only the command that runs, so that the help comes at once.

Exit codes: 0 done; 1 an API server said no; 2 the command line is wrong; 3 it can never work as asked; 4 it may work
when tried again; 130 stopped by Ctrl-C.
"""

import sys
from importlib import import_module
from typing import Final

import click

from diskyard import VERSION, ending
from diskyard.errors import ApiError, DiskyardError

COMMANDS: Final = {
    "up": "cli.yard:up_command",
    "run": "cli.run:run_command",
    "node": "cli.node:node_command",
    "apply": "cli.objects:apply_command",
    "get": "cli.objects:get_command",
    "delete": "cli.objects:delete_command",
    "logs": "cli.objects:logs_command",
    "start": "cli.guest:start_command",
    "stop": "cli.guest:stop_command",
    "restart": "cli.guest:restart_command",
    "pause": "cli.guest:pause_command",
    "unpause": "cli.guest:unpause_command",
    "console": "cli.guest:console_command",
    "vnc": "cli.guest:vnc_command",
    "domain": "cli.guest:domain_command",
    "import": "cli.transfer:import_command",
    "image-upload": "cli.upload:upload_command",
    "rollback": "cli.rollback:rollback_command",
    "capture": "cli.capture:capture_command",
    "replace": "cli.replace:replace_command",
    "inspect": "cli.inspect:inspect_command",
    "images": "cli.images:images_command",
    "doctor": "cli.doctor:doctor_command",
    "version": "cli.version:version_command",
}
HELP: Final = {
    "up": "Run a yard: an API server, controllers and a node on this machine.",
    "run": "Import IMAGE, boot a machine from it, and join its console; Ctrl-] leaves that.",
    "node": "Serve a Kubernetes cluster as a node: run its pods here, and provide volumes for its claims.",
    "apply": "Create or change the objects of a file.",
    "get": "Show objects.",
    "delete": "Delete objects.",
    "logs": "Show what a pod, or a guest's serial console, says.",
    "start": "Start machines.",
    "stop": "Stop machines: press the power button, and take the power away when their time is over.",
    "restart": "Stop machines and start them again.",
    "pause": "Halt guests where they are; they keep their memory.",
    "unpause": "Let halted guests go on.",
    "console": "Join a guest's serial console, beside others who look; Ctrl-] leaves it.",
    "vnc": "Show a guest's screen, beside others who look.",
    "domain": "Show the libvirt XML of a guest that runs.",
    "import": "Import a disk image: SOURCE becomes the raw disk TARGET.",
    "image-upload": "Upload an image of this machine into a DataVolume (dv) or a claim (pvc).",
    "rollback": "Point a DataSource at an image before, and hold it there.",
    "capture": "Make a golden image of a machine's disk: DATASOURCE stands for it.",
    "replace": "Put a prepared disk in the place of a stopped machine's; the old one is kept.",
    "inspect": "Say what SOURCE is, and whether and how it would be imported.",
    "images": "List the images that this machine's node keeps.",
    "doctor": "Check what works on this machine, and say how to mend what does not.",
    "version": "Show the version.",
}
"""What `--help` says of each command; a test holds it to the commands' own words."""
STOPPED: Final = 130


class Door(click.Group):
    """Commands that are imported when they run."""

    def list_commands(self, _: click.Context) -> list[str]:
        """In the order in which a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        """The command, imported now."""
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name].split(":")
        found = getattr(import_module(module), attribute)
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, HELP[name]) for name in COMMANDS])


@click.command(cls=Door, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, message="diskyard %(version)s")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
def door() -> None:
    """Import VM disks, and start guests from them, with or without a cluster."""


@ending.at_once
def main() -> None:
    """Run the command line, and end the process with its exit code."""
    try:
        code = door.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(STOPPED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(STOPPED)
    except DiskyardError as error:
        if "--debug" in sys.argv:
            raise
        click.echo(f"diskyard: {error}", err=True)
        sys.exit(exit_code(error))


def exit_code(error: DiskyardError) -> int:
    """The exit code that an error stands for."""
    if isinstance(error, ApiError):
        return 1
    return 3 if error.fatal else 4


if __name__ == "__main__":
    main()
