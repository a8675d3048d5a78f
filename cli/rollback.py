"""`diskyard rollback`: a DataSource goes back to an image before, and stays there until it is released."""

from contextlib import suppress
from pathlib import Path

import click

from cli.pointing import gone_back
from cli.reach import client_of, reaching
from diskyard.api import meta
from diskyard.api.boottest import Verdict
from diskyard.api.cron import last_used, made, standing_for
from diskyard.api.meta import CLAIM, DATA_SOURCE, SNAPSHOT, Key, Obj
from diskyard.api.names import cdi
from diskyard.errors import InvalidRequest, NotFound
from diskyard.kube.client import Client, Selection


@click.command("rollback")
@click.argument("name", metavar="DATASOURCE")
@click.option(
    "--to", "image", metavar="IMAGE", help="The claim to go to. Default: the image before this one."
)
@click.option("--release", is_flag=True, help="Let it follow the newest image again.")
@reaching
def rollback_command(
    kubeconfig: Path | None, namespace: str, name: str, image: str | None, release: bool
) -> None:
    """Point a DataSource at an image before, and hold it there."""
    if image and release:
        raise click.UsageError("--to and --release: give one of them")
    client, key = client_of(kubeconfig), Key(name, namespace)
    obj = client.get(DATA_SOURCE, key)
    if not meta.labels(obj).get(cdi.CRON_LABEL):
        if release:
            raise InvalidRequest(
                f"datasource {name} follows no DataImportCron: there is nothing to release it for"
            )
        before = gone_back(client, obj, image)
        click.echo(f"datasource {name} stands for {before.entry} {before.key.name} again")
        return
    if release:
        client.patch(DATA_SOURCE, key, {"metadata": {"annotations": {cdi.HELD: None}}})
        click.echo(f"datasource {name} follows the newest image again")
        return
    images = kept(client, obj)
    chosen = image_before(obj, images) if image is None else _named(image, images)
    entry = "snapshot" if images[chosen].get("kind") == SNAPSHOT.kind else "pvc"
    stands = standing_for(Key(chosen, namespace), entry)
    held = {"metadata": {"annotations": {cdi.HELD: chosen}}, "spec": stands}
    client.patch(DATA_SOURCE, key, held)
    digest = meta.annotations(images[chosen]).get(cdi.DIGEST, "of no known version")
    click.echo(f"datasource {name} stands for {chosen} ({digest}), and stays there: --release ends that")


def kept(client: Client, obj: Obj) -> dict[str, Obj]:
    """The complete images of the cron whose the DataSource is, the one used last first. Raises InvalidRequest."""
    cron = meta.labels(obj).get(cdi.CRON_LABEL, "")
    if not cron:
        raise InvalidRequest(
            f"datasource {meta.name(obj)} is kept current by no DataImportCron: nothing tells which images it had. "
            "Change its spec.source yourself"
        )
    found: list[Obj] = []
    for kind in (CLAIM, SNAPSHOT):
        with suppress(NotFound):  # not every server has snapshots
            found += client.list(kind, Selection(meta.namespace(obj), f"{cdi.CRON_LABEL}={cron}")).items
    whole = [each for each in found if made(meta.name(obj), each) and _good(each)]
    last_first = sorted(whole, key=last_used, reverse=True)
    return {meta.name(each): each for each in last_first}


def _good(image: Obj) -> bool:
    """Whether an image is complete, and has failed no boot test."""
    verdict = Verdict.from_text(meta.annotations(image).get(cdi.BOOT_TEST, ""))
    snapped = meta.status(image).get("readyToUse") is True
    whole = snapped or meta.annotations(image).get(cdi.POD_PHASE) == "Succeeded"
    return whole and not (verdict and verdict.failed)


def image_before(obj: Obj, images: dict[str, Obj]) -> str:
    """The image that was used before the one that the DataSource stands for. Raises InvalidRequest."""
    source = meta.spec(obj).get("source") or {}
    at = str((source.get("pvc") or source.get("snapshot") or {}).get("name") or "")
    names = list(images)
    older = names[names.index(at) + 1 :] if at in images else names
    if not older:
        raise InvalidRequest(
            f"there is no image before {at or 'the first one'}: kept are {', '.join(names) or 'none'}. "
            "spec.importsToKeep of the DataImportCron says how many are"
        )
    return older[0]


def _named(image: str, images: dict[str, Obj]) -> str:
    if image not in images:
        raise InvalidRequest(f"there is no image {image}: kept are {', '.join(images) or 'none'}")
    return image
