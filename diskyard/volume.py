"""The volume of a worker's pod as a target: what fits, how large the disk becomes, where it lies.

The arithmetic is CDI's: its claims and ours must come to the same sizes.
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from diskyard import linux
from diskyard.api import quantity
from diskyard.api.job import ImportJob
from diskyard.api.names import cdi
from diskyard.disk import space
from diskyard.disk.target import Target
from diskyard.disk.writer import device_size
from diskyard.errors import InvalidRequest


def target(job: ImportJob, env: Mapping[str, str]) -> Target:
    """What the job shall fill: the block device where the pod has one, else `disk.img` in the data directory."""
    device = Path(env.get(cdi.ENV_BLOCK_DEVICE, cdi.BLOCK_DEVICE))
    scratch = Path(env.get(cdi.ENV_SCRATCH_DIR, cdi.SCRATCH_DIR))
    if linux.is_device(device):
        return _device(job, device, scratch if scratch.is_dir() else Path(tempfile.gettempdir()))
    spare = scratch if scratch.is_dir() and os.access(scratch, os.W_OK | os.X_OK) else None
    return replace(_file(job, Path(env.get(cdi.ENV_VOLUME_DIR, cdi.DATA_DIR))), spare=spare)


def _device(job: ImportJob, path: Path, scratch: Path) -> Target:
    return Target(path, room=device_size(path), preallocate=job.preallocation, scratch=scratch)


def _file(job: ImportJob, folder: Path) -> Target:
    path = folder / cdi.DISK_FILE
    bare = Target(path)
    if not folder.is_dir():
        raise InvalidRequest(f"expected the volume at {folder}, found no directory there")
    free = space.free(folder) + sum(space.taken(file) for file in (path, bare.part, bare.spool))
    if not job.image_size:
        return Target(path, room=free, preallocate=job.preallocation)
    request = quantity.parse(job.image_size)
    available = min(free, request)
    size = min(request, quantity.usable(available, _overhead(job)))
    return Target(path, room=available, size=size, preallocate=job.preallocation)


def _overhead(job: ImportJob) -> float:
    try:
        overhead = float(job.overhead or 0)
    except ValueError:
        overhead = -1.0
    if not 0 <= overhead <= 1:
        raise InvalidRequest(f"{cdi.ENV_OVERHEAD} must be between 0 and 1, found {job.overhead!r}")
    return overhead
