"""Whether the machine has the huge pages that a guest asks for, before its emulator fails over it."""

from pathlib import Path
from typing import Final

from diskyard.api import quantity
from diskyard.api.instance import Instance, part
from diskyard.errors import InvalidRequest

POOLS: Final = Path("/sys/kernel/mm/hugepages")


def check(instance: Instance, pools: Path = POOLS) -> None:
    """Raises InvalidRequest, which says how many there are and how to have more."""
    page = part(part(instance.domain, "memory"), "hugepages").get("pageSize")
    if not page:
        return
    size = quantity.parse(page)
    wanted, pool = instance.memory // size, pools / f"hugepages-{size // 1024}kB"
    free = _count(pool / "free_hugepages")
    if free < wanted:
        raise InvalidRequest(
            f"the guest asks for {wanted} huge pages of {page}, and its node has {free} free: write a larger number "
            f"to {pool / 'nr_hugepages'} there, or take away spec.domain.memory.hugepages"
        )


def _count(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0
