"""The library: what objects and bytes mean, how to reach an API server, how to serve HTTP."""

import os
from typing import Final

VERSION: Final = "0.1.0"
IMAGE: Final = os.environ.get("DISKYARD_IMAGE") or f"diskyard:{VERSION}"
"""The one image that runs every worker; on the yard it stands for this very installation. A cluster has it under a name
of its registry."""
