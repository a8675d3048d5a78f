"""What `import` and `inspect` read: a SOURCE and the options that say how to reach it, as a job."""

import os
from collections.abc import Callable, Mapping
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import click

if TYPE_CHECKING:
    from diskyard.api.job import ImportJob

_KINDS: Final = {
    "http://": "http", "https://": "http", "docker://": "registry", "oci-archive:": "registry", "s3://": "s3",
    "gs://": "gcs",
}  # fmt: skip
"""How a source begins -> its kind; `-` is standard input, anything else a local file."""
_OPTIONS: Final = (
    click.option(
        "--user", default="", metavar="NAME[:PASSWORD]", help="For the source; asks for the password."
    ),
    click.option(
        "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Ask an http source with this header."
    ),
    click.option(
        "--ca", default="", metavar="FILE", help="Trust the authorities in this file, or folder, as well (PEM)."
    ),
    click.option(
        "--insecure", is_flag=True, help="Do not check certificates; let a registry speak plain HTTP."
    ),
    click.option(
        "--allow-addresses", default="", metavar="NETWORKS", envvar="DISKYARD_ALLOW_ADDRESSES",
        help="Connect to these although they usually are refused: link-local, metadata ...",
    ),
    click.option(
        "--architecture", default="", metavar="ARCH", help="Of a container image: amd64, arm64, ..."
    ),
    click.option(
        "--mirror", "mirrors", multiple=True, metavar="REGISTRY=HOST",
        help="Ask this mirror of a registry first.",
    ),
    click.option(
        "--endpoint-url", default="", metavar="URL",
        help="The server of s3:// or gs://, if not Amazon or Google.",
    ),
    click.option(
        "--region", default="", metavar="REGION", help="Of an S3 bucket, where the server does not say it."
    ),
    click.option("--anonymous", is_flag=True, help="Use no credentials, whatever the environment has."),
)  # fmt: skip


def source_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options that say how a source is reached."""
    return reduce(lambda decorated, option: option(decorated), reversed(_OPTIONS), command)


def sized(_: click.Context, __: click.Parameter, text: str) -> str:
    """An option's size as it was written, if it is one. Raises BadParameter."""
    from diskyard.api import quantity
    from diskyard.errors import InvalidRequest

    try:
        quantity.parse(text or 0)
    except InvalidRequest as error:
        raise click.BadParameter(str(error)) from error
    return text


PLAIN: Final[Mapping[str, Any]] = {
    "user": "", "headers": (), "ca": "", "insecure": False, "allow_addresses": "", "architecture": "", "mirrors": (),
    "endpoint_url": "", "region": "", "anonymous": False,
}  # fmt: skip
"""None of these options."""


def job(source: str, options: Mapping[str, Any]) -> "ImportJob":
    """The job that reads a source. Raises UsageError."""
    from diskyard.api.job import ImportJob

    kind = next((kind for start, kind in _KINDS.items() if source.lower().startswith(start)), "file")
    kind = "stdin" if source == "-" else kind
    if kind == "file" and "://" in source and not Path(source).exists():
        raise click.UsageError(
            f"expected a source that begins with {', '.join(_KINDS)}, a local file, or -, found {source!r}"
        )
    endpoint = _endpoint(source, kind, options["endpoint_url"])
    user, colon, password = options["user"].partition(":")
    if user and not colon:
        password = click.prompt(f"Password of {user}", hide_input=True, err=True)
    return ImportJob(
        kind, endpoint, access_key=user, secret_key=password, insecure_tls=options["insecure"],
        credentials_file=os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "") if kind == "gcs" else "",
        region=options["region"], anonymous=options["anonymous"], architecture=options["architecture"],
        extra_headers=options["headers"], cert_dir=options["ca"], auth_file=_auth_file(),
        registry_mirrors=options["mirrors"], allow_addresses=options["allow_addresses"],
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


def _env(name: str) -> str:
    return os.environ.get(name) or os.environ.get(name.upper(), "")
