"""A guest in 512 bytes: it says a line on its serial port, then powers off, waits for its power button, or hangs."""

import struct
from enum import Enum


class Then(Enum):
    """What the guest does after it has spoken."""

    OFF = "off"
    BUTTON = "button"
    HANG = "hang"


_OFF = b"\xba\x04\x06\xb8\x00\x20\xef"
"""mov dx, 604h; mov ax, 2000h; out dx, ax: q35's ACPI control port, S5, sleep enable."""
_LISTEN = b"\xba\x02\x06\xb8\x00\x01\xef"
"""mov dx, 602h; mov ax, 100h; out dx, ax: let the power button show in the status."""
_HALT = b"\xf4\xeb\xfd"
"""hlt; jmp to it."""


def disk(words: str = "Hello from 512 bytes", then: Then = Then.OFF, size: int = 1 << 20) -> bytes:
    """A raw disk of `size` bytes that boots into the guest."""
    code = bytearray(b"\xfa\x31\xc0\x8e\xd8\xbe\x00\x00")  # cli; xor ax, ax; mov ds, ax; mov si, words
    words_at = len(code) - 2
    code += _speak()
    if then is Then.BUTTON:
        code += _LISTEN + _until_pressed()
    if then is not Then.HANG:
        code += _OFF
    code += _HALT
    code[words_at : words_at + 2] = struct.pack("<H", 0x7C00 + len(code))
    code += words.encode() + b"\r\n\0"
    return bytes(code.ljust(510, b"\0") + b"\x55\xaa").ljust(size, b"\0")


def _speak() -> bytes:
    """Send each byte at ds:si to COM1 when its transmitter is empty, up to a zero."""
    send = b"\x88\xd8\xba\xf8\x03\xee"  # mov al, bl; mov dx, 3f8h; out dx, al
    wait = b"\x88\xc3\xba\xfd\x03\xec\xa8\x20"  # mov bl, al; mov dx, 3fdh; in al, dx; test al, 20h
    body = wait + b"\x74" + _back(6) + send  # jz to reading 3fdh again
    head = b"\xac\x84\xc0"  # lodsb; test al, al
    length = len(head) + 2 + len(body) + 2
    return head + b"\x74" + struct.pack("b", len(body) + 2) + body + b"\xeb" + _back(length - 2)


def _until_pressed() -> bytes:
    """mov dx, 600h; in ax, dx; test ah, 1; jz back: the status bit of the power button."""
    return b"\xba\x00\x06\xed\xf6\xc4\x01\x74" + _back(7)


def _back(distance: int) -> bytes:
    """The operand of a short jump over `distance` bytes before it, and over itself."""
    return struct.pack("b", -(distance + 2))
