"""`diskyard import`: the importer's engine with no yard at all. Heavy imports wait until it is called."""

import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cli.source import job, sized, source_options
from diskyard.api.checksum import LENGTHS

if TYPE_CHECKING:
    from diskyard.api.job import ImportJob
    from diskyard.disk.target import Result, Target

FATAL: Final = 3
PASSING: Final = 4
STOPPED: Final = 130


@click.command("import")
@click.argument("source")
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--size",
    default="",
    metavar="SIZE",
    callback=sized,
    help="The disk's size, such as 10Gi: a smaller one is grown.",
)
@click.option(
    "--checksum", default="", metavar="ALGO:HEX", help="Of the source's bytes: md5, sha1, sha256 or sha512."
)
@click.option(
    "--checksum-url", default="", metavar="URL", help="A SHA256SUMS file with the image's line; or its path."
)
@click.option(
    "--digest",
    type=click.Choice(tuple(LENGTHS)),
    help="Compute and say this one, where no checksum is given.",
)
@click.option(
    "--signature-url", default="", metavar="URL", help="Of that file's detached signature; or its path."
)
@click.option("--keyring", default="", metavar="FILE", help="The public keys that may have signed that file.")
@click.option("--archive", is_flag=True, help="SOURCE is a tar: unpack it into the directory TARGET.")
@click.option("--preallocate", is_flag=True, help="Reserve all of the disk's room at once.")
@click.option(
    "--scratch",
    type=click.Path(path_type=Path, exists=True, file_okay=False, writable=True),
    metavar="DIR",
    help="Where an image is kept that must be converted, if there is no room for both beside TARGET.",
)
@source_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output when done.")
def import_command(source: str, target: Path, size: str, **options: Any) -> None:
    """Import a disk image: SOURCE becomes the raw disk TARGET.

    SOURCE is an http:// or https:// URL, an object (s3://BUCKET/KEY or gs://BUCKET/OBJECT), a container image
    (docker://HOST/NAME:TAG or oci-archive:FILE) with a disk below /disk, a local file, or - for standard input: raw,
    ISO, qcow2, vmdk, vdi, vhd or vhdx, also inside gz, xz, zst, bz2 or a tar (OVA). TARGET is a file that is not
    there yet, a block device, or a directory, which gets a disk.img. The disk takes its name when it is complete and
    verified. Interrupted, the same command goes on where it stopped.

    \b
    Exit codes:
      0    done
      2    the command line is wrong
      3    this can never work as asked
      4    this may work when it is tried again
      130  stopped by Ctrl-C
    """
    from diskyard.errors import DiskyardError, ImageTooLarge

    try:
        sums: dict[str, Any] = {
            name: options.pop(name) or ""
            for name in ("checksum", "checksum_url", "digest", "signature_url", "keyring")
        }
        kind = "archive" if options["archive"] else "kubevirt"
        asked = replace(job(source, options), preallocation=options["preallocate"], content_type=kind, **sums)
        begun = time.monotonic()
        result = _run(
            asked,
            _target(target, size, **{name: options[name] for name in ("preallocate", "archive", "scratch")}),
        )
        _say(source, result, time.monotonic() - begun, as_json=options["as_json"])
    except DiskyardError as error:
        click.echo(f"diskyard: {error}", err=True)
        if isinstance(error, ImageTooLarge):
            click.echo("diskyard: here that means a larger --size, or a larger device", err=True)
        if not error.fatal:
            click.echo("diskyard: it may work when you run the same command again", err=True)
        sys.exit(FATAL if error.fatal else PASSING)
    except KeyboardInterrupt:
        click.echo("diskyard: stopped; run the same command again to go on from there", err=True)
        sys.exit(STOPPED)


def _run(job: "ImportJob", target: "Target") -> "Result":
    from cli.progress import shown
    from importer.transfer import host_of, transfer

    with shown(host_of(job.endpoint)) as on_progress:
        return transfer(job, target, on_progress)


def _target(path: Path, size: str, *, preallocate: bool, archive: bool, scratch: Path | None) -> "Target":
    """Where the disk goes. Raises InvalidRequest."""
    from diskyard import linux
    from diskyard.api import quantity
    from diskyard.disk.target import Target
    from diskyard.disk.writer import device_size
    from diskyard.errors import InvalidRequest

    room = quantity.parse(size) if size else None
    if linux.is_device(device := path.resolve()):  # /dev/GROUP/VOLUME is a link, and the user has named it
        scratch = scratch or Path(tempfile.gettempdir())
        return Target(device, room=device_size(device), preallocate=preallocate, scratch=scratch)
    if path.is_dir() or archive:
        path /= "disk.img"
    if path.exists():
        raise InvalidRequest(f"{path} is there already: remove it, or give another name")
    return Target(path, room=room, size=room, preallocate=preallocate, spare=scratch)


def _say(source: str, result: "Result", seconds: float, *, as_json: bool) -> None:
    from diskyard.api.quantity import human

    if as_json:
        said = {
            "source": source,
            "format": result.format,
            "virtualSize": result.virtual_size,
            "bytesFetched": result.bytes_fetched,
            "bytesWritten": result.bytes_written,
            "digest": result.digest,
            "seconds": round(seconds, 3),
        }
        click.echo(json.dumps(said))
        return
    click.echo(
        f"{result.format}, {human(result.virtual_size)}, {human(result.bytes_written)} written in {seconds:.1f} s"
    )
    if result.digest:
        click.echo(result.digest)
