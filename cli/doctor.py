"""`diskyard doctor`: what works on this machine, and how to mend what does not, in its package manager's words."""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from cli.checks import Finding

WIDTH: Final = 62
COLORS: Final = {"PASS": "green", "WARN": "yellow", "FAIL": "red"}


@click.command("doctor")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="The data directory to look at. Default: the one that `diskyard up` takes.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON array on standard output.")
def doctor_command(data_dir: Path | None, as_json: bool) -> None:
    """Check what works on this machine, and say how to mend what does not.

    PASS works; WARN: Diskyard runs, but something is slower or missing; FAIL: `diskyard up` cannot start guests.
    Ends with code 1 if anything FAILs.
    """
    from cli.checks import findings
    from standalone import directory

    found = findings((data_dir or directory.default()).absolute())
    if as_json:
        listed = [asdict(finding) for finding in found]
        click.echo(json.dumps(listed, indent=2))
    else:
        listed = list(_said(found))
    sys.exit(1 if any(entry["verdict"] == "FAIL" for entry in listed) else 0)


def _said(found: Iterable["Finding"]) -> Iterable[dict[str, str]]:
    """Say each finding as soon as it is there."""
    for finding in found:
        verdict = click.style(finding.verdict, fg=COLORS[finding.verdict], bold=True)
        click.echo(f"{finding.check:<{WIDTH}} : {verdict}" + (f" ({finding.found})" if finding.found else ""))
        if finding.fix:
            click.echo(f"    fix: {finding.fix}")
        yield asdict(finding)
