"""An installer disc of two sectors of code: it reads a driver disc and writes a system to an empty disk.

Its source is installer.s. From the disc it starts what is installed already; the system counts its starts on its own
disk, says which one it is, and powers off when its power button is pressed.
"""

from io import BytesIO
from pathlib import Path
from typing import Final

import pycdlib

_INSTALLER: Final = bytes.fromhex(
    "fa31c08ed88ec08ed0bc007cfbfcbe007cbf0090b90004f3a5ea1e900000b442b280be8c90cd13723a813efe7d55aa75"
    "07b280ea007c0000bebc90e83500b442b2e1be9c90cd13721abe00a0e82400b80043b280beac90cd137208becd90e812"
    "00eb06bed990e80a00ba0406b80020eff4ebfdac84c0741288c3bafd03eca82074f888d8baf803eeebe9c39010000100"
    "007c000000000000000000001000010000a00000000000000000000010000100009200000000000000000000496e7374"
    "616c6c696e6720776974682000496e7374616c6c65640d0a00546865206469736b2063616e6e6f742062652075736564"
    "0d0a"
)
_SYSTEM: Final = bytes.fromhex(
    "fa31c08ed88ec08ed0bc007cfbfcfe06717cb80043b280be547ccd13be647ce81a00ba0206b80001efba0006edf6c401"
    "74f7ba0406b80020eff4ebfdac84c0741288c3bafd03eca82074f888d8baf803eeebe9c310000100007c000000000000"
    "000000005374617274206e756d62657220302066726f6d20746865206469736b0d0a"
)


def disc(path: Path) -> None:
    """Write the disc; a BIOS boots it."""
    code = _INSTALLER.ljust(512, b"\0") + _SYSTEM.ljust(510, b"\0") + b"\x55\xaa"
    made = pycdlib.PyCdlib()
    made.new(interchange_level=3, vol_ident="INSTALLER")
    made.add_fp(BytesIO(code), len(code), "/BOOT.;1")
    made.add_eltorito("/BOOT.;1", bootcatfile="/BOOT.CAT;1", boot_load_size=4, media_name="noemul")
    made.write(str(path))
    made.close()


def drivers(words: str) -> bytes:
    """A driver disc: the installer says its first words."""
    return (words.encode() + b"\r\n\0").ljust(1 << 20, b"\0")
