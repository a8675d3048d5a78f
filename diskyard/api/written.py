"""What is written as JSON where anybody may write: annotations, lines of a socket, what a process said at its end."""

import json
from typing import Any


def mapping(text: str | bytes) -> dict[str, Any] | None:
    """The JSON object that a text is; None: it is none."""
    try:
        said = json.loads(text)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None
