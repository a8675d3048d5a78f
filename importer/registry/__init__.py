"""Disks in container images: `docker://` from a registry, `oci-archive:` from a file. Streamed, each byte verified."""

from importer.registry.image import opened

__all__ = ["opened"]
