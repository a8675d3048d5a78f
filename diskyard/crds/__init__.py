"""The CustomResourceDefinitions that this installation carries: ours, and those of snapshots.

In a wheel the YAML files lie beside this module; in a checkout ours are the Helm chart's own. Those of snapshots are
Kubernetes' (kubernetes-csi/external-snapshotter, with its names, fields and rules): a cluster has them from its
storage, or not at all, so that no chart brings them.
"""

from functools import cache
from pathlib import Path

import orjson
import yaml

from diskyard.api.meta import Obj

_HERE = Path(__file__).parent
_CHART = _HERE.parents[1] / "charts" / "diskyard" / "crds"


def folder() -> Path:
    """Where the files are. Raises FileNotFoundError for an installation without them."""
    for place in (_HERE, _CHART):
        if any(place.glob("*.yaml")):
            return place
    raise FileNotFoundError(
        f"no CustomResourceDefinitions in {_HERE} or {_CHART}: this installation is incomplete, install it again"
    )


def definitions() -> tuple[Obj, ...]:
    """Every CustomResourceDefinition of ours, in order of file name."""
    return _read(folder())


def snapshots() -> tuple[Obj, ...]:
    """The CustomResourceDefinitions of VolumeSnapshots, their classes and contents."""
    return _read(_HERE / "snapshots")


def _read(place: Path) -> tuple[Obj, ...]:
    return tuple(orjson.loads(_packed(place)))


@cache
def _packed(place: Path) -> bytes:
    """As JSON, which is read a hundred times as fast: stores are opened by the hundred in one process of tests."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast
    return orjson.dumps([yaml.load(path.read_bytes(), loader) for path in sorted(place.glob("*.yaml"))])
