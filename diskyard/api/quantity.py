"""`10Gi` <-> bytes, and the arithmetic of file system overhead.

Quantities: Kubernetes' `resource.Quantity` (a decimal number, a binary or decimal suffix or an exponent).
Overhead: the formulas of CDI's claim rendering, floating point included, because clients compare sizes.
"""

import math
import re
from decimal import ROUND_CEILING, Decimal
from typing import Final

from diskyard.errors import InvalidRequest

MIB: Final = 1 << 20
GIB: Final = 1 << 30
DEFAULT_OVERHEAD: Final = "0.06"

_SUFFIX: Final = {
    "": Decimal(1), "Ki": Decimal(1 << 10), "Mi": Decimal(1 << 20), "Gi": Decimal(1 << 30),
    "Ti": Decimal(1 << 40), "Pi": Decimal(1 << 50), "Ei": Decimal(1 << 60),
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": Decimal(1000),
    "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15), "E": Decimal(10**18),
}  # fmt: skip
_QUANTITY: Final = re.compile(
    r"([+-]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30}))(?:([eE][+-]?\d{1,2})|(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]))?",
    re.ASCII,
)


def parse(text: str | int) -> int:
    """Bytes (or any whole number) that a quantity says, rounded up. Raises InvalidRequest."""
    return int(value(text).to_integral_value(rounding=ROUND_CEILING))


def value(text: str | int) -> Decimal:
    """What a quantity says, exactly: `500m` is 0.5. Raises InvalidRequest."""
    match = _QUANTITY.fullmatch(str(text).strip())
    if not match:
        raise InvalidRequest(
            f"{str(text)[:60]!r} is not a quantity: expected a number with a suffix such as 512Mi, 10Gi or 6G"
        )
    number, exponent, suffix = match.groups()
    return Decimal(number + (exponent or "")) * _SUFFIX[suffix or ""]


def canonical(size: int) -> str:
    """The shortest exact binary quantity: 10737418240 -> `10Gi`."""
    for suffix in ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki"):
        unit = int(_SUFFIX[suffix])
        if size and size % unit == 0:
            return f"{size // unit}{suffix}"
    return str(size)


def human(size: float) -> str:
    """For people: `1.4 GiB`."""
    for suffix in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024 or suffix == "TiB":
            return f"{size:.0f} {suffix}" if suffix == "B" else f"{size:.1f} {suffix}"
        size /= 1024
    raise AssertionError("unreachable")


def round_up(size: int, unit: int = MIB) -> int:
    """The next multiple of `unit`, or `size` itself."""
    return -(-size // unit) * unit


def round_down(size: int, unit: int = MIB) -> int:
    """The multiple of `unit` at or below `size`."""
    return size // unit * unit


def required(size: int, overhead: float) -> int:
    """The claim, in bytes, that a disk of `size` bytes needs on a file system."""
    return math.ceil(round_up(size) * (1 + overhead))


def usable(available: int, overhead: float) -> int:
    """The disk, in bytes, that fits a claim of `available` bytes on a file system."""
    return round_down(math.ceil(available / (1 + overhead)))
