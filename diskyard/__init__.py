"""The library: what objects and bytes mean, how to reach an API server, how to serve HTTP."""

from typing import Final

VERSION: Final = "0.1.0"
IMAGE: Final = f"diskyard:{VERSION}"
"""The one image that runs every worker; on the yard it stands for this very installation."""
