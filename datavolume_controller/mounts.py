"""What lies in a worker's pod: the claim's volume; beside it certificates, secrets, keys, VMware's library. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from diskyard.api import lending
from diskyard.api import pod as pods
from diskyard.api.config import Config
from diskyard.api.meta import Obj
from diskyard.api.names import cdi, clone
from diskyard.api.storage import Claim


@dataclass(frozen=True)
class Mount:
    """A volume of the pod, and where its container finds it."""

    name: str
    path: str
    source: Obj
    """As on the wire, without the name; empty where it is not needed."""

    @property
    def volume(self) -> Obj:
        """The volume, as on the wire."""
        return {"name": self.name, **self.source}


def furnished(worker: pods.Worker, claim: Claim, beside: Sequence[Mount]) -> pods.Worker:
    """The worker with the claim's volume, as a folder or as a device, and with what lies beside it."""
    return replace(
        worker,
        mounts=(
            *(() if claim.block else ((cdi.DATA_VOLUME_NAME, cdi.DATA_DIR),)),
            *((each.name, each.path) for each in beside),
        ),
        devices=((cdi.DATA_VOLUME_NAME, cdi.BLOCK_DEVICE),) if claim.block else (),
        volumes=(
            pods.claim_volume(cdi.DATA_VOLUME_NAME, claim.key.name),
            *(each.volume for each in beside),
        ),
    )


def scratch() -> Mount:
    """A folder of the pod's own."""
    return Mount(cdi.SCRATCH_VOLUME_NAME, cdi.SCRATCH_DIR, {"emptyDir": {}})


def store() -> Mount:
    """The image store of the pod's node."""
    source = {name: said for name, said in lending.volume("").items() if name != "name"}
    return Mount(cdi.IMAGE_STORE_VOLUME, cdi.IMAGE_STORE_DIR, source)


def mounts(claim: Claim, config: Config) -> tuple[Mount, ...]:
    """Everything that the claim's importer finds beside the claim's volume."""
    said = claim.annotations
    secret, folder = said.get(cdi.IMPORT_SECRET, ""), _secret_folder(claim)
    brought: Obj = {"emptyDir": {}} if _vddk_image(claim, config) else {}
    possible = (
        scratch(),
        Mount(cdi.CERT_VOLUME_NAME, cdi.CERT_DIR, _certificates(claim, config)),
        Mount(cdi.SECRET_VOLUME_NAME, folder, _secret(secret) if folder else {}),
        Mount(cdi.KEYRING_VOLUME_NAME, _parent(cdi.KEYRING_FILE), _config_map(said.get(cdi.KEYRING))),
        Mount(
            cdi.VDDK_ARGS_VOLUME_NAME, _parent(cdi.VDDK_ARGS_FILE), _config_map(said.get(cdi.VDDK_EXTRA_ARGS))
        ),
        Mount(clone.KEYS_VOLUME, clone.KEYS_DIR, _secret(said[clone.KEYS]) if clone.KEYS in said else {}),
        Mount(cdi.VDDK_VOLUME_NAME, cdi.VDDK_ROOT, brought),
        *(
            Mount(f"{cdi.SECRET_HEADERS_VOLUME}{n}", f"{cdi.SECRET_HEADERS_DIR}/{n}", _secret(name))
            for n, name in numbered(said, cdi.SECRET_EXTRA_HEADER)
        ),
    )
    return tuple(each for each in possible if each.source)


def init_containers(claim: Claim, config: Config) -> list[Obj]:
    """The container that brings VMware's library: what it puts below its /opt, the importer finds below its own."""
    image = _vddk_image(claim, config)
    if not image:
        return []
    return [
        {
            "name": cdi.VDDK_CONTAINER,
            "image": image,
            "volumeMounts": [{"name": cdi.VDDK_VOLUME_NAME, "mountPath": cdi.VDDK_ROOT}],
            "resources": dict(config.resources),
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "securityContext": pods.UNPRIVILEGED,
        }
    ]


def google_key(claim: Claim) -> str:
    """The Secret with a service account's key; empty where none is needed."""
    is_google = claim.annotations.get(cdi.IMPORT_SOURCE) == "gcs"
    return claim.annotations.get(cdi.IMPORT_SECRET, "") if is_google else ""


def numbered(said: Mapping[str, Any], prefix: str) -> list[tuple[str, str]]:
    """(suffix, text) of the annotations with that prefix; numbers in their order."""
    found = [(key.removeprefix(prefix), str(text)) for key, text in said.items() if key.startswith(prefix)]
    return sorted(found, key=lambda each: (len(each[0]), each[0]))


def _secret_folder(claim: Claim) -> str:
    """Where the source's Secret is mounted; empty where its keys go into the environment, or there is none."""
    if google_key(claim):
        return _parent(cdi.GOOGLE_CREDENTIALS)
    is_registry = claim.annotations.get(cdi.IMPORT_SOURCE) == "registry"
    return _parent(cdi.PULL_SECRET) if is_registry and claim.annotations.get(cdi.IMPORT_SECRET) else ""


def _certificates(claim: Claim, config: Config) -> Obj:
    """Authorities: of the source, of the proxy, or of both in one folder."""
    source = _config_map(claim.annotations.get(cdi.IMPORT_CERTIFICATES))
    if not config.proxy.authorities:
        return source
    item = {"key": cdi.PROXY_AUTHORITIES, "path": cdi.PROXY_AUTHORITIES_FILE}
    proxy = {"configMap": {"name": config.proxy.authorities, "items": [item]}}
    return {"projected": {"sources": [proxy, source] if source else [proxy]}}


def _vddk_image(claim: Claim, config: Config) -> str:
    """The image that brings VMware's library; empty where a folder has it, or nobody asks for it."""
    return "" if config.vddk_folder else claim.annotations.get(cdi.VDDK_IMAGE, config.vddk_image)


def _config_map(name: str | None) -> Obj:
    return {"configMap": {"name": name}} if name else {}


def _secret(name: str) -> Obj:
    return {"secret": {"secretName": name}}


def _parent(path: str) -> str:
    return str(PurePosixPath(path).parent)
