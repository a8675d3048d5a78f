"""The steps of an upload: will it work, make what is missing, wait for the server, send, wait for the disk."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Final

import click

from cli import uploadway
from cli.progress import shown
from cli.tusclient import Client, File, Proxy
from cli.wishes import UploadWish
from diskyard.api import checksum, meta, quantity
from diskyard.api.meta import (
    CLAIM,
    DATA_SOURCE,
    DATA_VOLUME,
    EVENT,
    STORAGE_CLASS,
    UPLOAD_TOKEN,
    VOLUME,
    Key,
    Obj,
)
from diskyard.api.names import cdi, upload
from diskyard.api.storage import choices, default_class, storage_class
from diskyard.disk.head import Headed
from diskyard.disk.unwrap import unwrapped
from diskyard.errors import AlreadyExists, ImageTooLarge, InvalidRequest, Passing, Refused
from diskyard.kube.client import Client as Api
from diskyard.kube.client import Selection
from diskyard.kube.http import HttpClient
from diskyard.kube.reconcile import find
from importer.file import FileSource

_POLL: Final = 0.5
_TROUBLE: Final = (
    "ProvisioningFailed",
    "ErrClaimNotValid",
    "ErrExceededQuota",
    "ErrCreationRefused",
    "ErrUploadFailed",
)
"""Reasons of events after which waiting is of no use."""
_BLOCKED: Final = (
    "StorageClassNotFound",
    "ErrClaimNotValid",
    "ErrExceededQuota",
    "ErrResourceExists",
    "SourceNotServed",
)
"""Reasons of conditions after which waiting is of no use."""


class NotReady(Passing):
    """The upload server did not come up in time."""

    reason = "NotReady"


def upload_image(api: HttpClient, wish: UploadWish) -> None:
    """Upload, and wait until the disk is there. Raises Refused, Passing, ApiError."""
    file = _file(wish)
    if _prepared(api, wish):
        click.echo(f"{wish.kind} {wish.namespace}/{wish.name} is filled already: nothing to do")
        return
    claim = _ready(api, wish)
    with _proxy(api, wish) as proxy, closing(Client(proxy, file, wish.retry)) as client:
        with shown(proxy.url) as say:
            click.echo(f"Uploading data to {proxy.url}", err=True)
            client.send(say)
        _finished(api, wish, claim, client)
    if wish.data_source:
        _pointed(api, wish)
    click.echo(f"Uploading {wish.path} completed successfully")


def _file(wish: UploadWish) -> File:
    """The image, looked at: whether it is one, and whether it fits. Raises Refused."""
    with closing(FileSource(wish.path)) as source:
        size, fingerprint = source.size or 0, source.validator or ""
        if not wish.archive:
            plan, _ = unwrapped(Headed(source), None, None)
            _check_size(wish, plan.virtual_size)
    promised = str(checksum.parse(wish.checksum)) if wish.checksum else ""
    return File(wish.path, size, fingerprint, promised)


def _check_size(wish: UploadWish, needed: int | None) -> None:
    asked = quantity.parse(wish.size) if wish.size else None
    if asked is None or needed is None or needed <= asked:
        return
    fits = quantity.canonical(quantity.round_up(needed))
    raise ImageTooLarge(
        f"the disk inside {wish.path} has {quantity.human(needed)} ({needed} bytes), and --size {wish.size} is {asked} "
        f"bytes: ask for --size {fits}"
    )


def _prepared(api: Api, wish: UploadWish) -> bool:
    """Make what is missing; whether all is done already. Raises Refused, ApiError."""
    key = Key(wish.name, wish.namespace)
    claim, dv = find(api, CLAIM, key), find(api, DATA_VOLUME, key) if wish.kind == "dv" else None
    if claim is None and dv is None:
        if not wish.create:
            raise InvalidRequest(
                f"there is no {wish.kind} {wish.namespace}/{wish.name}: leave --no-create out to make it"
            )
        _make(api, wish)
        return False
    if claim is not None and wish.kind == "dv" and dv is None:
        raise InvalidRequest(
            f"No DataVolume is associated with the existing PVC {wish.namespace}/{wish.name}: use `pvc {wish.name}`"
        )
    click.echo(f"Using existing {wish.kind} {wish.namespace}/{wish.name}", err=True)
    said = meta.annotations(claim or {})
    if said.get(cdi.POD_PHASE) == "Succeeded" or meta.phase(dv or {}) == "Succeeded":
        raise InvalidRequest(
            f"PVC {wish.name} already successfully imported/cloned/updated: delete it, or give another name"
        )
    if claim is not None:
        _open(api, wish, claim)
    return False


def _open(api: Api, wish: UploadWish, claim: Obj) -> None:
    """Have a claim that is there take what comes. Raises InvalidRequest, ApiError."""
    said, content = meta.annotations(claim), "archive" if wish.archive else "kubevirt"
    missing = {}
    if wish.force_bind and cdi.IMMEDIATE_BINDING not in said:
        missing[cdi.IMMEDIATE_BINDING] = ""
    if cdi.UPLOAD_TARGET not in said:
        if wish.create:
            raise InvalidRequest(f"PVC {wish.name} not available for upload: with --no-create it is made so")
        missing |= {cdi.UPLOAD_TARGET: "", cdi.CONTENT_TYPE: content}
    elif (said.get(cdi.CONTENT_TYPE) or "kubevirt") != content:
        takes = "an image: give --image-path" if wish.archive else "an archive: give --archive-path"
        raise InvalidRequest(f"PVC {wish.name} takes {takes}, or another name")
    if missing:
        api.patch(CLAIM, meta.key(claim), {"metadata": {"annotations": missing}})


def _make(api: Api, wish: UploadWish) -> None:
    if not wish.size:
        raise InvalidRequest(
            "when creating a resource, the size must be specified: give --size, such as --size 10Gi"
        )
    _check_class(api, wish)
    kind = DATA_VOLUME if wish.kind == "dv" else CLAIM
    api.create(kind, _data_volume(wish) if wish.kind == "dv" else _claim(wish))
    click.echo(f"{kind} {wish.namespace}/{wish.name} created", err=True)


def _check_class(api: Api, wish: UploadWish) -> None:
    """Whether a claim of that class can ever be bound. Raises InvalidRequest."""
    classes = [storage_class(each) for each in api.list(STORAGE_CLASS).items]
    named = next((each for each in classes if each.name == wish.storage_class), None)
    chosen = named if wish.storage_class else default_class(classes, virt=True)
    if chosen:
        if chosen.waits and not wish.force_bind:
            raise InvalidRequest(
                f"claims of class {chosen.name} wait for a pod that uses them, and none does: add --force-bind"
            )
        return
    free = [each for each in api.list(VOLUME).items if meta.phase(each) in ("", "Available", "Pending")]
    of_class = [
        each for each in free if str(meta.spec(each).get("storageClassName") or "") == wish.storage_class
    ]
    if of_class:
        return
    if wish.storage_class:
        raise InvalidRequest(
            f'there is no StorageClass "{wish.storage_class}", and no free volume of that class; there are: '
            f"{choices(classes)}. Give one of these by --storage-class"
        )
    raise InvalidRequest(
        "no --storage-class was given, no class is the default, and no free volume has no class: nothing could be "
        f"bound. Give one by --storage-class (there are: {choices(classes)}), make one the default (kubectl annotate "
        f"storageclass NAME {cdi.DEFAULT_CLASS}=true), or make a volume"
    )


def _claim(wish: UploadWish) -> Obj:
    content = "archive" if wish.archive else "kubevirt"
    bound = {cdi.IMMEDIATE_BINDING: ""} if wish.force_bind else {}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": wish.name,
            "namespace": wish.namespace,
            "annotations": {cdi.UPLOAD_TARGET: "", cdi.CONTENT_TYPE: content, **bound},
            "labels": {upload.PROFILE_LABEL: "true", **dict(wish.labels)},
        },
        "spec": _volume(wish, wish.access_mode or "ReadWriteOnce"),
    }


def _data_volume(wish: UploadWish) -> Obj:
    bound = {cdi.IMMEDIATE_BINDING: ""} if wish.force_bind else {}
    return {
        "apiVersion": DATA_VOLUME.api_version,
        "kind": DATA_VOLUME.kind,
        "metadata": {
            "name": wish.name,
            "namespace": wish.namespace,
            "annotations": bound,
            "labels": dict(wish.labels),
        },
        "spec": {
            "source": {"upload": {}},
            "contentType": "archive" if wish.archive else "kubevirt",
            "storage": _volume(wish, wish.access_mode),
        },
    }


def _volume(wish: UploadWish, access_mode: str) -> Obj:
    said: dict[str, Any] = {
        "storageClassName": wish.storage_class,
        "accessModes": [access_mode] if access_mode else [],
        "volumeMode": wish.volume_mode,
    }
    return {"resources": {"requests": {"storage": wish.size}}, **{k: v for k, v in said.items() if v}}


def _ready(api: Api, wish: UploadWish) -> Obj:
    """The claim whose upload server takes the image in, once it does. Raises NotReady, Refused."""
    key, deadline, told = Key(wish.name, wish.namespace), time.monotonic() + wish.wait, False
    while True:
        claim = find(api, CLAIM, key)
        prime = meta.annotations(claim or {}).get(cdi.PRIME)
        if prime:
            claim = find(api, CLAIM, Key(prime, wish.namespace)) or claim
        said = meta.annotations(claim or {})
        if claim and said.get(cdi.POD_READY) == "true":
            return claim
        _check_waiting(api, wish, claim)
        if not told:
            told = True
            click.echo(f"Waiting for PVC {wish.name} upload pod to be ready...", err=True)
        if time.monotonic() > deadline:
            why = (
                said.get(cdi.RUNNING_MESSAGE)
                or said.get(cdi.BOUND_MESSAGE)
                or f"see kubectl describe pvc {wish.name}"
            )
            raise NotReady(
                f"the upload server of {wish.namespace}/{wish.name} was not ready within {wish.wait} s: {why}"
            )
        time.sleep(_POLL)


def _check_waiting(api: Api, wish: UploadWish, claim: Obj | None) -> None:
    """Nothing while waiting may help. Raises InvalidRequest."""
    key = Key(wish.name, wish.namespace)
    if wish.kind == "dv":
        dv = find(api, DATA_VOLUME, key) or {}
        phase = meta.phase(dv)
        if phase in ("WaitForFirstConsumer", "PendingPopulation") and not wish.force_bind:
            raise InvalidRequest(
                f"cannot upload to DataVolume in {phase} phase, make sure the PVC is Bound, or use force-bind flag"
            )
        for name in ("Bound", "Running"):
            found = meta.condition(dv, name) or {}
            if found.get("reason") in _BLOCKED:
                raise InvalidRequest(str(found.get("message")))
    elif claim is not None and meta.phase(claim) == "Pending" and not wish.force_bind:
        of = find(api, STORAGE_CLASS, Key(str(meta.spec(claim).get("storageClassName") or "-")))
        if of and storage_class(of).waits:
            raise InvalidRequest(
                f"claims of class {meta.name(of)} wait for a pod that uses them, and none does: add --force-bind"
            )
    uids = {meta.uid(claim or {})}
    for event in api.list(EVENT, Selection(wish.namespace, fields=f"involvedObject.name={wish.name}")).items:
        about = event.get("involvedObject") or {}
        if event.get("reason") in _TROUBLE and (
            about.get("uid") in uids or about.get("kind") == DATA_VOLUME.kind
        ):
            raise InvalidRequest(f"{event['reason']}: {event.get('message')}")


@contextmanager
def _proxy(api: HttpClient, wish: UploadWish) -> Iterator[Proxy]:
    """Where the image goes. Raises InvalidRequest."""

    def token() -> str:
        asked = {
            "metadata": {"generateName": "token-for-diskyard-", "namespace": wish.namespace},
            "spec": {"pvcName": wish.name},
        }
        return str(meta.status(api.create(UPLOAD_TOKEN, asked)).get("token") or "")

    with uploadway.found(api, wish) as way:
        yield Proxy(way, token)


def _finished(api: Api, wish: UploadWish, claim: Obj, client: Client) -> None:
    """Wait until the disk is there. Raises Refused where what came was not what can be one."""
    key, said = meta.key(claim), False
    before = meta.annotations(claim).get(cdi.ATTEMPTS)
    while True:
        found = find(api, CLAIM, key) or find(api, CLAIM, Key(wish.name, wish.namespace)) or {}
        notes = meta.annotations(found)
        if (
            notes.get(cdi.POD_PHASE) == "Succeeded"
            or meta.phase(find(api, DATA_VOLUME, Key(wish.name, wish.namespace)) or {}) == "Succeeded"
        ):
            return
        told = str(notes.get(cdi.RUNNING_MESSAGE) or "")
        if notes.get(cdi.ATTEMPTS) not in (None, before) and told and (why := client.failed(told)):
            raise Refused(why)
        if not said:
            said = True
            click.echo(
                "Uploading data completed successfully, waiting for processing to complete, you can hit ctrl-c "
                "without interrupting the progress",
                err=True,
            )
        time.sleep(_POLL)


def _pointed(api: Api, wish: UploadWish) -> None:
    source = {"pvc": {"namespace": wish.namespace, "name": wish.name}}
    metadata = {"name": wish.name, "namespace": wish.namespace, "labels": dict(wish.labels)}
    made = {
        "apiVersion": DATA_SOURCE.api_version,
        "kind": DATA_SOURCE.kind,
        "metadata": metadata,
        "spec": {"source": source},
    }
    try:
        api.create(DATA_SOURCE, made)
    except AlreadyExists:
        api.patch(DATA_SOURCE, Key(wish.name, wish.namespace), {"spec": {"source": source}})
