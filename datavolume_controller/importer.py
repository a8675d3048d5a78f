"""Claim with import annotations -> the job, and the pod that does it. Pure (cdi-wire: importer pod)."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from diskyard.api import meta
from diskyard.api import pod as pods
from diskyard.api.config import Config
from diskyard.api.job import BLANK, ImportJob
from diskyard.api.meta import CLAIM, Obj
from diskyard.api.names import cdi, derived
from diskyard.api.storage import Claim

COMMAND: Final = ("diskyard-importer",)
CONTAINER: Final = "importer"
_ACCESS_KEY: Final = "accessKeyId"
_SECRET_KEY: Final = "secretKey"
_SESSION_TOKEN: Final = "sessionToken"
"""Ours: CDI takes lasting keys only."""


def job(claim: Claim, config: Config) -> ImportJob:
    """What the importer is asked to do."""
    said = claim.annotations
    source = said.get(cdi.IMPORT_SOURCE, "http")
    return ImportJob(
        source=source,
        endpoint=said.get(cdi.IMPORT_ENDPOINT, "") if source != BLANK else "",
        image_size=claim.request,
        owner_uid=owner_uid(claim),
        overhead=config.overhead_of(claim.storage_class, claim.block),
        content_type=said.get(cdi.CONTENT_TYPE, "") or "kubevirt",
        checksum=said.get(cdi.IMPORT_CHECKSUM, ""),
        preallocation=said.get(cdi.PREALLOCATION_REQUESTED) == "true",
        insecure_tls=said.get(cdi.IMPORT_INSECURE) == "true",
        credentials_file=cdi.GOOGLE_CREDENTIALS if _google_key(claim) else "",
        cert_dir=cdi.CERT_DIR if said.get(cdi.IMPORT_CERTIFICATES) else "",
        extra_headers=tuple(text for _, text in _numbered(said, cdi.EXTRA_HEADER)),
        http_proxy=config.proxy.http,
        https_proxy=config.proxy.https,
        no_proxy=config.proxy.none,
        allow_addresses=config.allow_addresses,
    )


def owner_uid(claim: Claim) -> str:
    """Whose progress the importer's metrics tell: the claim's one owner, else the claim itself."""
    return claim.owner_uid or claim.uid


def pod_name(claim: Claim) -> str:
    """The name of the claim's importer pod."""
    return claim.annotations.get(cdi.IMPORT_POD) or derived.importer_pod(claim.key.name)


def pod(owner: Obj, claim: Claim, config: Config) -> Obj:
    """The pod that fills the claim."""
    said = claim.annotations
    secret = said.get(cdi.IMPORT_SECRET, "")
    mounts, volumes = _volumes(claim)
    worker = pods.Worker(
        container=CONTAINER,
        command=COMMAND,
        env=job(claim, config).to_env(),
        secret_env={
            cdi.ENV_ACCESS_KEY: (secret, _ACCESS_KEY),
            cdi.ENV_SECRET_KEY: (secret, _SECRET_KEY),
            cdi.ENV_SESSION_TOKEN: (secret, _SESSION_TOKEN),
        }
        if secret and not _google_key(claim)
        else {},
        mounts=mounts if claim.block else ((cdi.DATA_VOLUME_NAME, cdi.DATA_DIR), *mounts),
        devices=((cdi.DATA_VOLUME_NAME, cdi.BLOCK_DEVICE),) if claim.block else (),
        volumes=(pods.claim_volume(cdi.DATA_VOLUME_NAME, claim.key.name), *volumes),
        ports={"metrics": cdi.METRICS_PORT},
        resources=config.resources,
    )
    placement: Obj = {
        "priorityClassName": said.get(cdi.POD_PRIORITY, ""),
        "serviceAccountName": said.get(cdi.POD_SERVICE_ACCOUNT, ""),
    }
    return pods.pod(worker, _metadata(owner, claim), **{key: text for key, text in placement.items() if text})


def _metadata(owner: Obj, claim: Claim) -> Obj:
    passed = {key: claim.annotations[key] for key in cdi.POD_ANNOTATIONS if key in claim.annotations}
    return {
        "name": pod_name(claim),
        "namespace": claim.key.namespace,
        "labels": {
            **claim.labels,
            cdi.APP_LABEL: cdi.APP,
            cdi.COMPONENT_LABEL: cdi.IMPORTER,
            cdi.METRICS_LABEL: "true",
            cdi.MANAGED_BY_LABEL: cdi.MANAGED_BY,
            cdi.COMPONENT_OF_LABEL: cdi.STORAGE,
        },
        "annotations": {**cdi.MESH_DEFAULTS, **passed, cdi.CREATED_BY_IMPORT: "yes"},
        "ownerReferences": [meta.owner_reference(CLAIM, owner)],
    }


def _volumes(claim: Claim) -> tuple[tuple[tuple[str, str], ...], tuple[Obj, ...]]:
    """Mounts and volumes beside the claim itself: certificates, secret headers, a service account's key."""
    mounts: list[tuple[str, str]] = []
    volumes: list[Obj] = []
    certificates = claim.annotations.get(cdi.IMPORT_CERTIFICATES)
    if certificates:
        mounts.append((cdi.CERT_VOLUME_NAME, cdi.CERT_DIR))
        volumes.append({"name": cdi.CERT_VOLUME_NAME, "configMap": {"name": certificates}})
    for number, secret in _numbered(claim.annotations, cdi.SECRET_EXTRA_HEADER):
        name = f"{cdi.SECRET_HEADERS_VOLUME}{number}"
        mounts.append((name, f"{cdi.SECRET_HEADERS_DIR}/{number}"))
        volumes.append({"name": name, "secret": {"secretName": secret}})
    if _google_key(claim):
        mounts.append((cdi.SECRET_VOLUME_NAME, str(PurePosixPath(cdi.GOOGLE_CREDENTIALS).parent)))
        volumes.append({"name": cdi.SECRET_VOLUME_NAME, "secret": {"secretName": _google_key(claim)}})
    return tuple(mounts), tuple(volumes)


def _google_key(claim: Claim) -> str:
    """The Secret with a service account's key; empty where none is needed."""
    is_google = claim.annotations.get(cdi.IMPORT_SOURCE) == "gcs"
    return claim.annotations.get(cdi.IMPORT_SECRET, "") if is_google else ""


def _numbered(said: Mapping[str, Any], prefix: str) -> list[tuple[str, str]]:
    """(suffix, text) of the annotations with that prefix; numbers in their order."""
    found = [(key.removeprefix(prefix), str(text)) for key, text in said.items() if key.startswith(prefix)]
    return sorted(found, key=lambda each: (len(each[0]), each[0]))
