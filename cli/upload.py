"""`diskyard image-upload`: an image of this machine becomes the disk of a claim."""

import sys
from pathlib import Path
from typing import Any, Final

import click

from cli.reach import client_of, reaching
from cli.source import sized
from cli.wishes import UploadWish

FATAL: Final = 3
PASSING: Final = 4
STOPPED: Final = 130


def _defaults(command: Any) -> Any:
    """The options that label what is made."""
    for name in (
        "default-preference-kind",
        "default-preference",
        "default-instancetype-kind",
        "default-instancetype",
    ):
        command = click.option(
            f"--{name}", default="", metavar="NAME", help="For machines that boot from it (a label)."
        )(command)
    return command


@click.command("image-upload")
@click.argument("kind", required=False, metavar="[dv|pvc]")
@click.argument("name", required=False, metavar="[NAME]")
@click.option(
    "--image-path", type=click.Path(path_type=Path), help="The image: raw, ISO, qcow2, also in gz, xz, zst."
)
@click.option(
    "--archive-path", type=click.Path(path_type=Path), help="A tar archive, to be unpacked into the volume."
)
@click.option("--size", default="", metavar="SIZE", callback=sized, help="Of what is made, such as 10Gi.")
@click.option("--pvc-name", default="", metavar="NAME", help="As `pvc NAME`; an older spelling.")
@click.option("--pvc-size", default="", metavar="SIZE", callback=sized, help="As --size; an older spelling.")
@click.option(
    "--storage-class", default="", metavar="NAME", help="Of what is made. Default: the default class."
)
@click.option("--access-mode", default="", metavar="MODE", help="Of what is made, such as ReadWriteOnce.")
@click.option(
    "--volume-mode", type=click.Choice(("filesystem", "block"), case_sensitive=False), help="Of what is made."
)
@click.option("--block-volume", is_flag=True, help="As --volume-mode block; an older spelling.")
@click.option("--uploadproxy-url", "url", default="", metavar="URL", help="Default: as the CDIConfig says.")
@click.option("--insecure", is_flag=True, help="Do not check the proxy's certificate.")
@click.option("--no-create", is_flag=True, help="Expect what is uploaded into to be there.")
@click.option("--force-bind", is_flag=True, help="Bind a claim that waits for its first consumer.")
@click.option(
    "--wait-secs",
    "wait",
    type=click.IntRange(1),
    default=300,
    show_default=True,
    help="For the upload server.",
)
@click.option(
    "--retry", type=click.IntRange(0), default=10, show_default=True, help="Tries without a byte of progress."
)
@click.option(
    "--checksum",
    default="",
    metavar="ALGO:HEX",
    help="Of the file's bytes: verified before the disk is visible.",
)
@click.option("--datasource", is_flag=True, help="Make a DataSource of the same name that points to it.")
@_defaults
@reaching
def upload_command(kind: str | None, name: str | None, kubeconfig: Path | None, **options: Any) -> None:
    """Upload an image of this machine into a DataVolume (dv) or a claim (pvc).

    \b
      diskyard image-upload dv fedora --size 10Gi --image-path fedora.qcow2
      diskyard image-upload --pvc-name win --pvc-size 6G --image-path win.iso

    What breaks off goes on: by itself, and when the same command is run again.

    \b
    Exit codes:
      0    done
      1    an API server said no
      2    the command line is wrong
      3    this can never work as asked
      4    this may work when it is tried again
      130  stopped by Ctrl-C
    """
    from cli import uploading
    from diskyard.errors import ApiError, DiskyardError

    wish = _wish(kind, name, options)
    try:
        uploading.upload_image(client_of(kubeconfig), wish)
    except ApiError:
        raise
    except DiskyardError as error:
        click.echo(f"diskyard: {error}", err=True)
        sys.exit(FATAL if error.fatal else PASSING)
    except KeyboardInterrupt:
        click.echo("diskyard: stopped; run the same command again to go on from there", err=True)
        sys.exit(STOPPED)


def _wish(kind: str | None, name: str | None, said: dict[str, Any]) -> UploadWish:
    """Both spellings as one. Raises UsageError."""
    if said["pvc_name"]:
        if name or (kind and kind != "pvc"):
            raise click.UsageError("--pvc-name is the older spelling of `pvc NAME`: give one of them")
        kind, name = "pvc", said["pvc_name"]
    elif kind and not name:
        kind, name = "pvc", kind
    if kind not in ("dv", "pvc") or not name:
        raise click.UsageError("expected dv NAME or pvc NAME")
    if said["size"] and said["pvc_size"]:
        raise click.UsageError("--pvc-size is the older spelling of --size: give one of them")
    image, archive = said["image_path"], said["archive_path"]
    if image and archive:
        raise click.UsageError("cannot handle both image-path and archive-path, provide only one")
    if not image and not archive:
        raise click.UsageError("expected --image-path or --archive-path")
    from diskyard.api.names import kubevirt

    labels = tuple(
        (kubevirt.DEFAULTS + word.replace("_", "-"), said[word])
        for word in (
            "default_instancetype",
            "default_instancetype_kind",
            "default_preference",
            "default_preference_kind",
        )
        if said[word]
    )
    block = said["block_volume"] or said["volume_mode"] == "block"
    return UploadWish(
        kind=kind, name=name, namespace=said["namespace"], path=image or archive, archive=bool(archive), labels=labels,
        size=said["size"] or said["pvc_size"], volume_mode="Block" if block else str(said["volume_mode"] or "").title(),
        create=not said["no_create"], data_source=said["datasource"],
        **{key: said[key] for key in _SAME},
    )  # fmt: skip


_SAME: Final = ("storage_class", "access_mode", "url", "insecure", "force_bind", "wait", "retry", "checksum")
"""What UploadWish calls as the command line does."""
