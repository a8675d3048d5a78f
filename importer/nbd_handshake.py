"""The first words of an NBD connection: what is exported, how large, whether its allocation can be asked for."""

import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from diskyard.errors import SourceMissing, SourceUnavailable

_GREETING: Final = b"NBDMAGICIHAVEOPT"
_FIXED_NEWSTYLE, _NO_ZEROES = 1, 2
_OPTION: Final = struct.Struct(">8sII")
_OPTION_REPLY: Final = struct.Struct(">QIII")
_OPTION_REPLY_MAGIC: Final = 0x3E889045565A9
_GO, _STRUCTURED_REPLY, _SET_META_CONTEXT = 7, 8, 10
_ACK, _INFO, _META_CONTEXT = 1, 3, 4
_ERROR_BIT: Final = 1 << 31
_UNKNOWN: Final = _ERROR_BIT + 6
_INFO_EXPORT, _INFO_BLOCK_SIZE = 0, 3
_LONGEST_REPLY: Final = 64 << 10
_MOST_REPLIES: Final = 64
_LARGEST_GRAIN: Final = 64 << 10
_ALLOCATION: Final = b"base:allocation"


@dataclass(frozen=True)
class Export:
    """What the server offers under a name."""

    size: int
    grain: int
    """Offsets and lengths of requests are multiples of this."""
    context: int | None
    """The server's number for `base:allocation`; None: it cannot tell."""


class Wire:
    """Bytes to and from a server. Whatever goes wrong ends the connection: SourceUnavailable."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link

    def send(self, message: bytes | bytearray) -> None:
        """All of it."""
        try:
            self._link.sendall(message)
        except OSError as error:
            raise self.broken(str(error)) from error

    def received(self, length: int) -> bytes:
        """The next `length` bytes."""
        body = bytearray(length)
        self.fill(memoryview(body))
        return bytes(body)

    def fill(self, view: memoryview) -> None:
        """The next bytes, into all of `view`."""
        while view:
            try:
                taken = self._link.recv_into(view)
            except OSError as error:
                raise self.broken(str(error) or "nothing came in time") from error
            if not taken:
                raise self.broken("it hung up")
            view = view[taken:]

    def broken(self, what: str) -> SourceUnavailable:
        """The error that says what the server did; the connection is of no further use."""
        self._link.close()
        return SourceUnavailable(f"the NBD server failed: {what}")

    def leave(self, farewell: bytes) -> None:
        """Say a last word to a server that may be gone, hang up."""
        with suppress(OSError):
            self._link.sendall(farewell)
        self._link.close()


def negotiated(wire: Wire, name: str) -> Export:
    """The export of that name, ready for requests. Raises SourceMissing, SourceUnavailable."""
    greeting = wire.received(18)
    (flags,) = struct.unpack(">H", greeting[16:])
    if greeting[:16] != _GREETING or not flags & _FIXED_NEWSTYLE:
        raise wire.broken(f"expected the fixed newstyle handshake, found {greeting!r}")
    wire.send(struct.pack(">I", _FIXED_NEWSTYLE | flags & _NO_ZEROES))
    if _asked(wire, _STRUCTURED_REPLY, b"") is None:
        raise wire.broken("it knows no structured replies")
    export = name.encode()
    named = struct.pack(">I", len(export)) + export
    query = struct.pack(">II", 1, len(_ALLOCATION)) + _ALLOCATION
    contexts = _asked(wire, _SET_META_CONTEXT, named + query) or []
    context = next(
        (struct.unpack(">I", body[:4])[0] for kind, body in contexts if kind == _META_CONTEXT), None
    )
    said = _asked(wire, _GO, named + struct.pack(">HH", 1, _INFO_BLOCK_SIZE))
    if said is None:
        wire.leave(b"")
        raise SourceMissing(f"the NBD server has no export {name!r}")
    facts = {body[:2]: body[2:] for kind, body in said if kind == _INFO}
    return Export(_size(wire, facts), _grain(wire, facts), context)


def _size(wire: Wire, facts: dict[bytes, bytes]) -> int:
    said = facts.get(struct.pack(">H", _INFO_EXPORT), b"")
    if len(said) < 8:
        raise wire.broken("it does not say the size of its export")
    (size,) = struct.unpack(">Q", said[:8])
    if size >= 1 << 63:
        raise wire.broken(f"it says that its export has {size} bytes")
    return int(size)


def _grain(wire: Wire, facts: dict[bytes, bytes]) -> int:
    said = facts.get(struct.pack(">H", _INFO_BLOCK_SIZE), b"")
    grain = struct.unpack(">I", said[:4])[0] if len(said) >= 4 else 1
    if not 1 <= grain <= _LARGEST_GRAIN or grain & (grain - 1):
        raise wire.broken(f"it asks for requests in multiples of {grain} bytes")
    return int(grain)


def _asked(wire: Wire, option: int, body: bytes) -> list[tuple[int, bytes]] | None:
    """(type, content) of every reply to an option; None where the server does not know it, or has no such thing."""
    wire.send(_OPTION.pack(b"IHAVEOPT", option, len(body)) + body)
    replies: list[tuple[int, bytes]] = []
    while len(replies) < _MOST_REPLIES:
        magic, answered, kind, length = _OPTION_REPLY.unpack(wire.received(_OPTION_REPLY.size))
        if magic != _OPTION_REPLY_MAGIC or answered != option or length > _LONGEST_REPLY:
            raise wire.broken(f"an answer to option {answered} of {length} bytes, expected one to {option}")
        content = wire.received(length)
        if kind == _ACK:
            return replies
        if kind & _ERROR_BIT:
            if kind == _UNKNOWN or option != _GO:
                return None
            raise wire.broken(f"error {kind - _ERROR_BIT} {content.decode(errors='replace')}".rstrip())
        replies.append((kind, content))
    raise wire.broken(f"more than {_MOST_REPLIES} replies to one option")
