"""`diskyard import`: the importer's engine with no yard at all. Heavy imports wait until it is called."""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import click

if TYPE_CHECKING:
    from diskyard.api.job import ImportJob
    from diskyard.disk.target import Result, Target

FATAL: Final = 3
PASSING: Final = 4
STOPPED: Final = 130
_KINDS: Final = {
    "http://": "http", "https://": "http", "docker://": "registry", "oci-archive:": "registry", "s3://": "s3",
    "gs://": "gcs",
}  # fmt: skip
"""How a source begins -> its kind; anything else is a local file."""


@click.command("import")
@click.argument("source")
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--size", default="", metavar="SIZE", help="The disk's size, such as 10Gi: a smaller one is grown."
)
@click.option(
    "--checksum", default="", metavar="ALGO:HEX", help="Of the source's bytes: md5, sha1, sha256 or sha512."
)
@click.option("--preallocate", is_flag=True, help="Reserve all of the disk's room at once.")
@click.option("--user", default="", metavar="NAME[:PASSWORD]", help="For the source; asks for the password.")
@click.option("--insecure", is_flag=True, help="Do not check certificates; let a registry speak plain HTTP.")
@click.option("--architecture", default="", metavar="ARCH", help="Of a container image: amd64, arm64, ...")
@click.option(
    "--mirror", "mirrors", multiple=True, metavar="REGISTRY=HOST", help="Ask this mirror of a registry first."
)
@click.option(
    "--endpoint-url", default="", metavar="URL", help="The server of s3:// or gs://, if not Amazon or Google."
)
@click.option(
    "--region", default="", metavar="REGION", help="Of an S3 bucket, where the server does not say it."
)
@click.option("--anonymous", is_flag=True, help="Use no credentials, whatever the environment has.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output when done.")
def import_command(source: str, target: Path, size: str, **options: Any) -> None:
    """Import a disk image: SOURCE becomes the raw disk TARGET.

    SOURCE is an http:// or https:// URL, an object (s3://BUCKET/KEY or gs://BUCKET/OBJECT), a container image
    (docker://HOST/NAME:TAG or oci-archive:FILE) with a disk below /disk, or a local file: raw, ISO, qcow2, vmdk, vdi,
    vhd or vhdx, also inside gz, xz or bz2. TARGET is a file that is not there yet, a block device, or a directory,
    which gets a disk.img. The disk takes its name when it is complete and verified. Interrupted, the same command goes
    on where it stopped.

    \b
    Exit codes:
      0    done
      2    the command line is wrong
      3    this can never work as asked
      4    this may work when it is tried again
      130  stopped by Ctrl-C
    """
    from diskyard.errors import DiskyardError

    job = _job(source, options)
    try:
        begun = time.monotonic()
        result = _run(job, _target(target, size, preallocate=options["preallocate"]))
        _say(source, result, time.monotonic() - begun, as_json=options["as_json"])
    except DiskyardError as error:
        click.echo(f"diskyard: {error}", err=True)
        if not error.fatal:
            click.echo("diskyard: it may work when you run the same command again", err=True)
        sys.exit(FATAL if error.fatal else PASSING)
    except KeyboardInterrupt:
        click.echo("diskyard: stopped; run the same command again to go on from there", err=True)
        sys.exit(STOPPED)


def _job(source: str, options: dict[str, Any]) -> "ImportJob":
    from diskyard.api.job import ImportJob

    kind = next((kind for start, kind in _KINDS.items() if source.lower().startswith(start)), "file")
    endpoint = _endpoint(source, kind, options["endpoint_url"])
    user, colon, password = options["user"].partition(":")
    if user and not colon:
        password = click.prompt(f"Password of {user}", hide_input=True, err=True)
    return ImportJob(
        kind, endpoint, checksum=options["checksum"], preallocation=options["preallocate"],
        access_key=user, secret_key=password, insecure_tls=options["insecure"], auth_file=_auth_file(),
        credentials_file=os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "") if kind == "gcs" else "",
        region=options["region"], anonymous=options["anonymous"], architecture=options["architecture"],
        registry_mirrors=options["mirrors"],
        http_proxy=_env("http_proxy"), https_proxy=_env("https_proxy"), no_proxy=_env("no_proxy"),
    )  # fmt: skip


def _endpoint(source: str, kind: str, server: str) -> str:
    """Where the job finds the source: `s3://` and `gs://` on a server other than Amazon's and Google's are URLs."""
    if kind == "s3":
        server = server or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    elif kind != "gcs" and server:
        raise click.UsageError(
            "--endpoint-url goes with s3:// and gs://: any other source names its server itself"
        )
    if not server or kind not in ("s3", "gcs"):
        return source
    path, mark, version = source.partition("://")[2].partition("?versionId=")
    return f"{server.rstrip('/')}/{quote(path)}{mark}{version}"


def _auth_file() -> str:
    """Where `podman login` or `docker login` has put this user's registry credentials; empty: nowhere."""
    if named := os.environ.get("REGISTRY_AUTH_FILE"):
        return named
    docker = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker", "config.json")
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", "/nowhere"), "containers/auth.json")
    return next((str(path) for path in (runtime, docker) if path.is_file()), "")


def _run(job: "ImportJob", target: "Target") -> "Result":
    from cli.progress import shown
    from importer.transfer import transfer

    with shown() as on_progress:
        return transfer(job, target, on_progress)


def _target(path: Path, size: str, *, preallocate: bool) -> "Target":
    """Where the disk goes. Raises InvalidRequest."""
    from diskyard import linux
    from diskyard.api import quantity
    from diskyard.disk.target import Target
    from diskyard.disk.writer import device_size
    from diskyard.errors import InvalidRequest

    room = quantity.parse(size) if size else None
    if linux.is_device(path):
        scratch = Path(tempfile.gettempdir())
        return Target(path, room=device_size(path), preallocate=preallocate, scratch=scratch)
    if path.is_dir():
        path /= "disk.img"
    if path.exists():
        raise InvalidRequest(f"{path} is there already: remove it, or give another name")
    return Target(path, room=room, size=room, preallocate=preallocate)


def _env(name: str) -> str:
    return os.environ.get(name) or os.environ.get(name.upper(), "")


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
    click.echo(result.digest)
