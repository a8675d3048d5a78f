"""`diskyard node`: this machine as a node of a Kubernetes cluster, in the foreground."""

from pathlib import Path
from typing import Any

import click

from cli.reach import allowing
from cli.yard import Ends


@click.command("node")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The cluster. Default: $KUBECONFIG, ~/.kube/config, or a pod's own account.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where pods and volumes are kept; of one cluster. Default: as for `diskyard up`.",
)
@click.option("--name", default="", help="The node's name. Default: this machine's.")
@click.option(
    "--address", default="", help="Where the API server finds this machine. Default: found on the way to it."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=10250,
    show_default=True,
    help="Where the API server asks for logs; 0 takes a free one.",
)
@click.option(
    "--guests-port",
    type=click.IntRange(0, 65535),
    default=8186,
    show_default=True,
    help="Where the API server asks for what virtctl wants; 0 takes a free one.",
)
@click.option(
    "--guest-network",
    metavar="CIDR",
    help="Have a network of guests (as root), with addresses that no other node has, such as 10.99.0.0/22.",
)
@click.option(
    "--client-ca",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Who signs the API server's certificate for nodes. Default: what kube-system says of clients.",
)
@allowing
@click.option(
    "--bind-pods/--no-bind-pods",
    default=None,
    help="Place pods here. Default: where no scheduler is at work.",
)
@click.option(
    "--bind-claims/--no-bind-claims",
    default=None,
    help="Bind claims to volumes. Default: where no controller manager is at work.",
)
@click.option("--verbose", is_flag=True, help="Log every step to standard error.")
def node_command(kubeconfig: Path | None, data_dir: Path | None, verbose: bool, **said: Any) -> None:
    """Serve a Kubernetes cluster as a node: run its pods here, and provide volumes for its claims.

    Ctrl-C stops every pod gracefully, then ends. SIGTERM ends at once and leaves the pods running for the next start.
    """
    from diskyard import log
    from standalone import directory
    from standalone.colleagues import Duties
    from standalone.node.network import plan
    from standalone.outpost import Outpost, Post

    log.start("DEBUG" if verbose else "WARNING")
    ends = Ends()
    place = directory.Directory((data_dir or directory.default()).absolute())
    allowed = tuple(path.absolute() for path in said["allowed"])
    subnet = plan.parsed(said["guest_network"]) if said["guest_network"] else None
    duties = Duties(said["bind_pods"], said["bind_claims"])
    post = Post(
        kubeconfig,
        said["name"],
        said["address"],
        said["port"],
        said["guests_port"],
        said["client_ca"],
        allowed,
        duties,
        subnet,
    )
    with Outpost.open(place, post, lambda text: click.echo(text, err=True)) as outpost:
        click.echo(f"ready: node {outpost.name} of {outpost.url}, logs at {outpost.address}:{outpost.port}")
        ends.bring_about(outpost, place.path)
