"""Our CustomResourceDefinitions as this installation carries them.

In a wheel the YAML files lie beside this module; in a checkout they are the Helm chart's own.
"""

from pathlib import Path

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
    """Every CustomResourceDefinition, in order of file name."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast
    return tuple(yaml.load(path.read_bytes(), loader) for path in sorted(folder().glob("*.yaml")))
