"""Images in a registry, and the disks that they become."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from diskyard.api.job import ImportJob
from diskyard.disk.ingest import ingest
from diskyard.disk.target import Target
from importer import registry
from tests.importer import oci
from tests.importer.registries import Registry

DISK: Final = b"a disk!!" * 4096


@dataclass
class Publisher:
    """Pushes images that are named after the test."""

    registry: Registry
    folder: Path
    name: str

    @property
    def url(self) -> str:
        return f"docker://{self.registry.host}/{self.name}:v1"

    def push(self, *layers: bytes, pack: str = "+gzip", **how: Any) -> str:
        """An image of layers, the lowest first; its URL."""
        layout = oci.Layout(self.folder)
        return self.publish(layout, layout.image(layers, pack, **how))

    def publish(self, layout: oci.Layout, *images: oci.Json) -> str:
        oci.copy(f"oci:{layout.write(*images)}", self.url)
        return self.url


def imported(volume: Path, url: str, **fields: Any) -> bytes:
    """The disk that an image becomes."""
    job = ImportJob("registry", url, **{"insecure_tls": True, **fields})
    with closing(registry.opened(job)) as source:
        ingest(source, Target(volume / "disk.img"))
    return (volume / "disk.img").read_bytes()
