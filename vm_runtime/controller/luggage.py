"""What a launcher's pod carries for its guest: a volume of the pod for each of the guest's that needs one. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from diskyard.api import lending
from diskyard.api.config import Config
from diskyard.api.instance import CONTAINER_DISK, EPHEMERAL, HOST_DISK, Instance, Volume, part
from diskyard.api.job import ImportJob
from diskyard.api.kernelboot import fetched
from diskyard.api.lending import ALWAYS, Lending
from diskyard.api.meta import Obj
from diskyard.api.names import cdi, derived, kubevirt
from diskyard.api.pod import Worker, container
from diskyard.api.rules.instance_defaults import ARCHITECTURE
from vm_runtime.controller.state import remembers

_PULL_DIR: Final = str(PurePosixPath(cdi.PULL_SECRET).parent)
FETCHES: Final = "volume"
"""What the names of containers that fetch begin with; the volume's follows."""
TOKEN_LIFE: Final = 3607
"""Seconds: what Kubernetes itself asks for on behalf of pods."""


@dataclass(frozen=True)
class Piece:
    """One volume of the pod, and where the launcher finds it."""

    name: str
    source: Obj
    path: str
    block: bool = False

    @property
    def volume(self) -> Obj:
        """As on the wire."""
        return {"name": self.name, **self.source}


def pieces(instance: Instance, config: Config) -> tuple[Piece, ...]:
    """All of them, the launcher's own first."""
    own = [
        Piece(kubevirt.PRIVATE_VOLUME, {"emptyDir": {}}, kubevirt.PRIVATE_DIR),
        Piece(kubevirt.SCRATCH_VOLUME, {"emptyDir": {}}, kubevirt.SCRATCH_DIR),
    ]
    if remembers(instance):
        kept = {"persistentVolumeClaim": {"claimName": derived.state_claim(instance.name)}}
        own.append(Piece(kubevirt.STATE_VOLUME, kept, kubevirt.STATE_DIR))
    others = [each for each in instance.volumes if not each.claim and each.kind != CONTAINER_DISK]
    carried = [piece for volume in others for piece in _pieces(volume)]
    images = [_container_disk(instance, volume, config.image_store) for volume in fetched(instance)]
    return (*own, *claim_pieces(instance), *carried, *images, *_credentials(instance))


def claim_pieces(instance: Instance) -> tuple[Piece, ...]:
    """The claims alone."""
    return tuple(
        _claim(instance, volume) for volume in instance.claim_volumes if volume.name in instance.claims
    )


def service_account(instance: Instance) -> str:
    """The ServiceAccount whose token the guest gets; empty: none."""
    asked = (volume.source for volume in instance.volumes if volume.kind == "serviceAccount")
    return next((str(source.get("serviceAccountName") or "") for source in asked), "")


def _claim(instance: Instance, volume: Volume) -> Piece:
    block = instance.claims[volume.name].block
    only = part(volume.source, "persistentVolumeClaim") if volume.kind == EPHEMERAL else volume.source
    source: Obj = {"claimName": volume.claim}
    if volume.kind == EPHEMERAL or only.get("readOnly"):
        source["readOnly"] = True
    place = f"/dev/{volume.name}" if block else f"{kubevirt.DISKS_DIR}/{volume.name}"
    return Piece(volume.name, {"persistentVolumeClaim": source}, place, block)


def _pieces(volume: Volume) -> Iterator[Piece]:
    make = _KINDS.get(volume.kind)
    return make(volume) if make else iter(())


def _host_disk(volume: Volume) -> Iterator[Piece]:
    """The directory in which the disk lies; the node's agent makes the disk, the launcher only uses it."""
    path = PurePosixPath(str(volume.source.get("path") or "/"))
    kind = "DirectoryOrCreate" if volume.source.get("type") == "DiskOrCreate" else "Directory"
    source = {"hostPath": {"path": str(path.parent), "type": kind}}
    yield Piece(volume.name, source, f"{kubevirt.DISKS_DIR}/{volume.name}")


def _secret(volume: Volume) -> Iterator[Piece]:
    source = _kept(volume.source, "secretName", "optional")
    yield Piece(volume.name, {"secret": source}, f"{kubevirt.SECRETS_DIR}/{volume.name}")


def _config_map(volume: Volume) -> Iterator[Piece]:
    source = _kept(volume.source, "name", "optional")
    yield Piece(volume.name, {"configMap": source}, f"{kubevirt.CONFIG_MAPS_DIR}/{volume.name}")


def _downward(volume: Volume) -> Iterator[Piece]:
    source = {"items": volume.source.get("fields") or []}
    yield Piece(volume.name, {"downwardAPI": source}, f"{kubevirt.DOWNWARD_DIR}/{volume.name}")


def _sysprep(volume: Volume) -> Iterator[Piece]:
    secret, entries = part(volume.source, "secret"), part(volume.source, "configMap")
    source: Obj = (
        {"secret": {"secretName": secret.get("name")}}
        if secret
        else {"configMap": {"name": entries.get("name")}}
    )
    yield Piece(volume.name, source, f"{kubevirt.SYSPREP_DIR}/{volume.name}")


def _account(volume: Volume) -> Iterator[Piece]:
    """What Kubernetes gives a pod of that account: a token that expires, the CA, the namespace."""
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_LIFE}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    yield Piece(volume.name, {"projected": {"sources": sources}}, kubevirt.SERVICE_ACCOUNT_DIR)


def _seed(volume: Volume) -> Iterator[Piece]:
    """The Secrets with user data and network data."""
    for reference, letter in (("secretRef", "u"), ("networkDataSecretRef", "n")):
        secret = part(volume.source, reference).get("name")
        if secret:
            name = f"{volume.name}-{letter}data"
            yield Piece(name, {"secret": {"secretName": secret}}, f"{kubevirt.SECRETS_DIR}/{name}")


def _credentials(instance: Instance) -> Iterator[Piece]:
    for secret in dict.fromkeys(each.secret for each in instance.credentials):
        name = f"{secret}-access-cred"
        yield Piece(name, {"secret": {"secretName": secret}}, f"{kubevirt.SECRETS_DIR}/{name}")


def _kept(source: Obj, *names: str) -> Obj:
    return {name: source[name] for name in names if source.get(name) not in (None, "")}


def fetches(instance: Instance, config: Config) -> list[Obj]:
    """The containers that fetch disks out of container images before the guest's starts."""
    return [_fetch(instance, volume, config) for volume in fetched(instance)]


def _lending(instance: Instance, volume: Volume, config: Config) -> Lending:
    """How the node's image store is used for a volume."""
    policy = str(volume.source.get("imagePullPolicy") or ALWAYS)
    if not config.image_store:
        return Lending(policy=policy)
    of = f"{instance.namespace}/{instance.name} volume {volume.name}"
    return Lending(cdi.IMAGE_STORE_DIR, instance.namespace, policy, _lease(instance, volume), of)


def _lease(instance: Instance, volume: Volume) -> str:
    """One for each volume of each life of a guest."""
    return f"{instance.uid}-{volume.name}"


def _fetch(instance: Instance, volume: Volume, config: Config) -> Obj:
    secret = volume.source.get("imagePullSecret")
    job = ImportJob(
        source="registry",
        endpoint=f"docker://{volume.source.get('image') or ''}",
        image_path=str(volume.source.get("path") or ""),
        architecture=ARCHITECTURE,
        registry_mirrors=config.registry_mirrors,
        insecure_registries=config.insecure_registries,
        allow_addresses=config.allow_addresses,
        http_proxy=config.proxy.http,
        https_proxy=config.proxy.https,
        no_proxy=config.proxy.none,
        auth_file=cdi.PULL_SECRET if secret else "",
    )
    loan = _lending(instance, volume, config)
    place = (cdi.IMAGE_STORE_VOLUME, cdi.IMAGE_STORE_DIR) if loan.folder else (volume.name, cdi.DATA_DIR)
    mounts = (place, *(((_pull_name(volume), _PULL_DIR),) if secret else ()))
    env = {**job.to_env(), **loan.to_env()}
    worker = Worker(f"{FETCHES}{volume.name}", ("diskyard-importer",), env=env, mounts=mounts,
                    resources=config.resources)  # fmt: skip
    return container(worker)


def _container_disk(instance: Instance, volume: Volume, stored: bool) -> Piece:
    """A place for the disk, or the lease of it; the secret to fetch it with is for the container that fetches."""
    lease = lending.volume(volume.name, _lease(instance, volume)) if stored else {}
    source = {name: said for name, said in lease.items() if name != "name"} or {"emptyDir": {}}
    return Piece(volume.name, source, f"{kubevirt.CONTAINER_DISKS_DIR}/{volume.name}")


def for_fetching(instance: Instance, config: Config) -> tuple[Obj, ...]:
    """The pod's volumes that only its fetching containers mount: the node's image store, pull secrets."""
    store = (lending.volume(cdi.IMAGE_STORE_VOLUME),) if config.image_store and fetched(instance) else ()
    return (*store, *pull_secrets(instance))


def pull_secrets(instance: Instance) -> tuple[Obj, ...]:
    """The secrets among them."""
    return tuple(
        {"name": _pull_name(volume), "secret": {"secretName": volume.source["imagePullSecret"]}}
        for volume in fetched(instance)
        if volume.source.get("imagePullSecret")
    )


def _pull_name(volume: Volume) -> str:
    return f"{volume.name}-pull"


_KINDS: Final[Mapping[str, Callable[[Volume], Iterator[Piece]]]] = {
    HOST_DISK: _host_disk,
    "secret": _secret,
    "configMap": _config_map,
    "downwardAPI": _downward,
    "sysprep": _sysprep,
    "serviceAccount": _account,
    "cloudInitNoCloud": _seed,
    "cloudInitConfigDrive": _seed,
}
