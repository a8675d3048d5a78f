"""Container images without a container tool: an OCI layout, written blob by blob."""

import gzip
import hashlib
import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from backports import zstd

Json = dict[str, Any]
PACKERS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "": bytes,
    "+gzip": lambda body: gzip.compress(body, 1),
    "+zstd": zstd.compress,
}


@dataclass
class Layout:
    """A folder that skopeo reads as `oci:FOLDER`."""

    folder: Path
    manifests: list[Json] = field(default_factory=list)

    def blob(self, body: bytes, media_type: str) -> Json:
        digest = hashlib.sha256(body).hexdigest()
        path = self.folder / "blobs/sha256" / digest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(body)}

    def document(self, said: Json, media_type: str) -> Json:
        return self.blob(json.dumps(said).encode(), media_type)

    def image(
        self,
        layers: Sequence[bytes],
        pack: str = "+gzip",
        architecture: str = "amd64",
        env: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
    ) -> Json:
        """An image of tars, the lowest first; its descriptor."""
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Env": list(env), "Labels": dict(labels or {})},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers],
            },
        }
        kind = "application/vnd.oci.image"
        made = self.document(
            {
                "schemaVersion": 2,
                "mediaType": f"{kind}.manifest.v1+json",
                "config": self.document(config, f"{kind}.config.v1+json"),
                "layers": [self.blob(PACKERS[pack](layer), f"{kind}.layer.v1.tar{pack}") for layer in layers],
            },
            f"{kind}.manifest.v1+json",
        )
        return made | {"platform": {"os": "linux", "architecture": architecture}}

    def write(self, *images: Json) -> Path:
        """The index: one image, or one for each platform."""
        top = list(images)
        if len(top) > 1:
            kind = "application/vnd.oci.image.index.v1+json"
            top = [self.document({"schemaVersion": 2, "mediaType": kind, "manifests": top}, kind)]
        top = [{key: value for key, value in each.items() if key != "platform"} for each in top]
        (self.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": top}))
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        return self.folder


def copy(source: str, target: str, *options: str) -> None:
    """Let skopeo copy an image, every platform of it, blobs as they are."""
    command = ["skopeo", "copy", "-q", "--all", "--preserve-digests", "--dest-tls-verify=false", *options]
    subprocess.run([*command, source, target], check=True)


def noise(length: int) -> bytes:
    """Bytes that look random, and are the same each time."""
    made = b"".join(hashlib.sha256(n.to_bytes(8, "big")).digest() for n in range(length // 32 + 1))
    return made[:length]
