"""Claim with import annotations -> the job, and the pod that does it. Pure (cdi-wire: importer pod)."""

from typing import Final

from datavolume_controller.asked import digest
from datavolume_controller.mounts import furnished, google_key, init_containers, mounts, numbered, store
from diskyard.api import meta
from diskyard.api import pod as pods
from diskyard.api.config import USUAL, Config
from diskyard.api.job import BLANK, ImportJob
from diskyard.api.lending import Lending
from diskyard.api.meta import CLAIM, Obj
from diskyard.api.names import cdi, derived
from diskyard.api.storage import Claim

COMMAND: Final = ("diskyard-importer",)
CONTAINER: Final = "importer"
REGISTRY: Final = "registry"
CHECKED: Final = ("http", "s3", "gcs")
"""Sources of files, which a checksum may name."""
ARCHIVE: Final = "archive"
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
        checksum=said.get(cdi.IMPORT_CHECKSUM) or said.get(cdi.CHECKSUM, ""),
        checksum_url=said.get(cdi.CHECKSUM_URL, ""),
        signature_url=said.get(cdi.SIGNATURE_URL, ""),
        keyring=cdi.KEYRING_FILE if cdi.KEYRING in said else "",
        preallocation=said.get(cdi.PREALLOCATION_REQUESTED) == "true",
        insecure_tls=said.get(cdi.IMPORT_INSECURE) == "true",
        credentials_file=cdi.GOOGLE_CREDENTIALS if google_key(claim) else "",
        cert_dir=cdi.CERT_DIR if said.get(cdi.IMPORT_CERTIFICATES) or config.proxy.authorities else "",
        extra_headers=tuple(text for _, text in numbered(said, cdi.EXTRA_HEADER)),
        http_proxy=config.proxy.http,
        https_proxy=config.proxy.https,
        no_proxy=config.proxy.none,
        allow_addresses=config.allow_addresses,
        pull_method=said.get(cdi.REGISTRY_METHOD, ""),
        architecture=said.get(cdi.REGISTRY_ARCHITECTURE, ""),
        registry_mirrors=config.registry_mirrors if source == REGISTRY else (),
        insecure_registries=config.insecure_registries if source == REGISTRY else (),
        disk_id=said.get(cdi.IMPORT_DISK_ID, ""),
        uuid=said.get(cdi.IMPORT_UUID, ""),
        backing_file=said.get(cdi.IMPORT_BACKING_FILE, ""),
        thumbprint=said.get(cdi.IMPORT_THUMBPRINT, ""),
        vddk_dir=config.vddk_folder or cdi.VDDK_DIR,
        checkpoint=said.get(cdi.CHECKPOINT_CURRENT, ""),
        previous=said.get(cdi.CHECKPOINT_PREVIOUS, ""),
        final=said.get(cdi.CHECKPOINT_FINAL) == "true",
        journal=said.get(cdi.IMPORT_JOURNAL, "") if claim.block else "",
    )


def loan(claim: Claim, config: Config) -> Lending | None:
    """How the importer uses its node's image store; None: not at all, as what is asked for has no digest yet."""
    said = claim.annotations
    source, endpoint = said.get(cdi.IMPORT_SOURCE, "http"), said.get(cdi.IMPORT_ENDPOINT, "")
    promised = any(said.get(key) for key in (cdi.IMPORT_CHECKSUM, cdi.CHECKSUM, cdi.CHECKSUM_URL))
    known = endpoint.startswith("docker://") if source == REGISTRY else promised and source in CHECKED
    wanted = config.image_store and said.get(cdi.IMAGE_STORE) != "false" and not claim.staged
    if not known or not wanted or said.get(cdi.CONTENT_TYPE) == ARCHIVE:
        return None
    return Lending(cdi.IMAGE_STORE_DIR, claim.key.namespace)


def verbosity(config: Config) -> dict[str, str]:
    """The variable by which a worker says more or less than usual."""
    return {} if config.verbosity == USUAL else {cdi.ENV_VERBOSITY: str(config.verbosity)}


def owner_uid(claim: Claim) -> str:
    """Whose progress the importer's metrics tell: the claim's one owner, else the claim itself."""
    return claim.owner_uid or claim.uid


def pod_name(claim: Claim) -> str:
    """The name of the claim's importer pod; each stage has one of its own."""
    stage = claim.annotations.get(cdi.CHECKPOINT_CURRENT, "")
    return claim.annotations.get(cdi.IMPORT_POD) or derived.importer_pod(claim.key.name, stage)


def pod(owner: Obj, claim: Claim, config: Config) -> Obj:
    """The pod that fills the claim."""
    said = claim.annotations
    required, optional = credentials(claim)
    lends = loan(claim, config)
    worker = pods.Worker(
        container=CONTAINER,
        command=COMMAND,
        env={**job(claim, config).to_env(), **(lends.to_env() if lends else {}), **verbosity(config)},
        secret_env=required,
        optional_env=optional,
        ports={"metrics": cdi.METRICS_PORT},
        resources=config.resources,
        pull_policy=config.pull_policy,
    )
    spec: Obj = {
        "priorityClassName": said.get(cdi.POD_PRIORITY, ""),
        "serviceAccountName": said.get(cdi.POD_SERVICE_ACCOUNT, ""),
        "initContainers": init_containers(claim, config),
        "nodeName": claim.node if cdi.POPULATOR_KIND in said else "",
        **config.pod_spec,
    }
    worker = furnished(worker, claim, (*mounts(claim, config), *((store(),) if lends else ())))
    return pods.pod(worker, _metadata(owner, claim), **{key: each for key, each in spec.items() if each})


Keys = dict[str, tuple[str, str]]


def credentials(claim: Claim) -> tuple[Keys, Keys]:
    """Environment name -> (Secret, key): what must be there, and what may be.

    What must be there is waited for, so a Secret may come after its DataVolume. A registry's Secret may hold user and
    password, or be a pull secret.
    """
    secret = claim.annotations.get(cdi.IMPORT_SECRET, "")
    if not secret or google_key(claim):
        return {}, {}
    keys = {cdi.ENV_ACCESS_KEY: (secret, _ACCESS_KEY), cdi.ENV_SECRET_KEY: (secret, _SECRET_KEY)}
    if claim.annotations.get(cdi.IMPORT_SOURCE) == REGISTRY:
        return {}, keys
    return keys, {cdi.ENV_SESSION_TOKEN: (secret, _SESSION_TOKEN)}


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
        "annotations": {
            **cdi.MESH_DEFAULTS,
            **passed,
            cdi.CREATED_BY_IMPORT: "yes",
            cdi.ASKED: digest(claim.annotations),
        },
        "ownerReferences": [meta.owner_reference(CLAIM, owner)],
    }
