"""What an image of a cron is made by: the DataVolume of one version of the source. Pure."""

from typing import Any, Final

from datavolume_controller.cronworld import World
from diskyard.api import meta
from diskyard.api.cron import Import
from diskyard.api.meta import DATA_SOURCE, DATA_VOLUME, IMPORT_CRON, Obj
from diskyard.api.names import cdi
from diskyard.api.origin import present

_SUMS: Final = (cdi.CHECKSUM_URL, cdi.SIGNATURE_URL, cdi.KEYRING)
_FILE: Final = ("sha256", "sha512", "sha1", "md5")


def volume(world: World, wanted: Import) -> Obj:
    """The DataVolume: exactly that version, or it fails."""
    cron = world.cron
    spec = {**meta.spec(cron.template), "source": pinned(world, wanted)}
    if world.owner_only and isinstance(spec.get("storage"), dict) and not spec["storage"].get("accessModes"):
        spec["storage"] = {**spec["storage"], "accessModes": ["ReadWriteOnce"]}
    if cron.service_account:
        spec = {**spec, "serviceAccountName": cron.service_account}
    return {
        "apiVersion": DATA_VOLUME.api_version,
        "kind": DATA_VOLUME.kind,
        "metadata": {
            "name": wanted.name,
            "namespace": cron.key.namespace,
            "labels": {**meta.labels(cron.template), **_passed(world), **labels(world)},
            "annotations": {
                **_annotations(world),
                cdi.DIGEST: wanted.digest,
                cdi.LAST_USE_TIME: world.instant,
            },
            "ownerReferences": owners(world),
        },
        "spec": spec,
    }


def source(world: World) -> Obj:
    """The DataSource, which stands for nothing yet."""
    cron = world.cron
    return {
        "apiVersion": DATA_SOURCE.api_version,
        "kind": DATA_SOURCE.kind,
        "metadata": {
            "name": cron.data_source.name,
            "namespace": cron.data_source.namespace,
            "labels": {**_passed(world), **labels(world)},
            "ownerReferences": owners(world),
        },
        "spec": {"source": {}},
    }


def labels(world: World) -> dict[str, str]:
    """Whose it is, and whether it goes with it."""
    kept = {} if world.cron.retains else {cdi.CLEANUP_LABEL: "true"}
    return {cdi.CRON_LABEL: world.cron.key.name, cdi.CRON_NAMESPACE_LABEL: world.cron.key.namespace, **kept}


def owners(world: World) -> list[dict[str, Any]]:
    """What a cron makes goes with it only where that was asked for."""
    return [] if world.cron.retains else [meta.owner_reference(IMPORT_CRON, world.obj)]


def pinned(world: World, wanted: Import) -> Obj:
    """The template's source, bound to that version as far as the source can be."""
    cron, found = world.cron, world.cron.found
    kind = present(cron.source)[0]
    said = dict(cron.source[kind])
    if found and found.url:
        said["url"] = found.url
    if kind == "registry" and wanted.digest.startswith("sha256:"):
        said["url"] = _at(str(said.get("url") or ""), wanted.digest)
    elif kind == "http":
        checksum = found.checksum if found else _checksum(wanted.digest)
        if checksum:
            said["checksum"] = checksum
    return {kind: said}


def _checksum(digest: str) -> str:
    """Whoever says which file is to be there has said its checksum."""
    return digest if digest.partition(":")[0] in _FILE else ""


def _at(url: str, digest: str) -> str:
    """`docker://HOST/NAME@DIGEST`, whatever tag or digest there was."""
    untagged = url.partition("@")[0]
    folder, slash, name = untagged.rpartition("/")
    return f"{folder}{slash}{name.partition(':')[0]}@{digest}"


def _passed(world: World) -> dict[str, str]:
    """The cron's labels that go with a disk wherever it goes."""
    return {key: text for key, text in world.cron.labels.items() if cdi.PASSED_LABEL.fullmatch(key)}


def _annotations(world: World) -> dict[str, str]:
    """The template's; checksums that a look has verified are in the source by now."""
    said = {key: text for key, text in meta.annotations(world.cron.template).items() if key != cdi.NEWEST}
    if world.cron.found and world.cron.found.checksum:
        said = {key: text for key, text in said.items() if key not in _SUMS}
        if "http" not in world.cron.source:  # which has a field for it
            said[cdi.CHECKSUM] = world.cron.found.checksum
    if cdi.RETAIN_POD in world.cron.annotations:
        said[cdi.RETAIN_POD] = world.cron.annotations[cdi.RETAIN_POD]
    return {**said, cdi.IMMEDIATE_BINDING: "true"}
