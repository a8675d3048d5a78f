"""What cloud-init's documents must be: checked where a manifest is admitted, and where a guest is started."""

from typing import Final

import yaml

CLOUD_CONFIG: Final = b"#cloud-config"
KINDS: Final = ("cloudInitNoCloud", "cloudInitConfigDrive")


def broken(text: bytes) -> str:
    """Why user data that says it is cloud-config cannot be read, with line and column; empty: it can, or is not.

    Only the grammar is checked: nothing is constructed, so that no document costs more than its length.
    """
    if not text.startswith(CLOUD_CONFIG):
        return ""
    try:
        for _ in yaml.parse(text, Loader=yaml.CSafeLoader):
            pass
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        return f"{where}{problem.problem or 'not YAML'}"
    except yaml.YAMLError as problem:
        return " ".join(str(problem).split())
    return ""
