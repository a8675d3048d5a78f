"""Disks in container images: `docker://` from a registry, `oci-archive:` from a file. Streamed, each byte verified."""

from importer.registry.image import digest, foreign, opened, resolved

__all__ = ["digest", "foreign", "opened", "resolved"]
