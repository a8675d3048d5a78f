"""What command lines ask for, parsed: made by the commands, carried out by who loads more than they do."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunWish:
    """Of `diskyard run`."""

    image: str
    name: str
    memory: str
    cpus: int
    size: str
    cdroms: tuple[str, ...]
    cloud_init: Path | None
    ssh_key: Path | None
    console: bool
    kubeconfig: Path | None
    namespace: str


@dataclass(frozen=True)
class UploadWish:
    """Of `diskyard image-upload`."""

    kind: str
    """`dv` or `pvc`."""
    name: str
    namespace: str
    path: Path
    archive: bool = False
    size: str = ""
    storage_class: str = ""
    access_mode: str = ""
    volume_mode: str = ""
    url: str = ""
    insecure: bool = False
    create: bool = True
    force_bind: bool = False
    wait: int = 300
    retry: int = 10
    checksum: str = ""
    data_source: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    """`instancetype.kubevirt.io/...`: what machines that boot from it are made of."""
