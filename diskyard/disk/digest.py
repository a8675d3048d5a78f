"""The digest of a source's bytes, in source order, and what it was promised to be.

libcrypto's contexts are plain memory: they can be saved in the middle and taken up again by another process, which
hashlib's objects cannot. Where libcrypto is not found, hashlib computes and nothing is saved.
"""

import base64
import binascii
import ctypes
import hashlib
import hmac
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from diskyard.errors import ChecksumMismatch

_NATIVE: Final = {
    "md5": ("MD5", 92),
    "sha1": ("SHA1", 96),
    "sha256": ("SHA256", 112),
    "sha512": ("SHA512", 216),
}
"""Algorithm -> libcrypto's name, and the size of its context (openssl/md5.h, openssl/sha.h)."""


def _libcrypto() -> ctypes.CDLL | None:
    for name in ("libcrypto.so.3", "libcrypto.so.1.1"):
        with suppress(OSError):
            return ctypes.CDLL(name)
    return None


_LIBRARY: Final = _libcrypto()


@dataclass(frozen=True)
class Expected:
    """The digest that the source's bytes must have: lower-case hex."""

    algorithm: str
    hex: str


class Digest:
    """One running digest: bytes in, `algorithm:hex` out."""

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        self._hash = hashlib.new(algorithm, usedforsecurity=False)
        name, size = _NATIVE[algorithm]
        self._context = ctypes.create_string_buffer(size)
        if _LIBRARY:
            self._update = getattr(_LIBRARY, f"{name}_Update")
            self._final = getattr(_LIBRARY, f"{name}_Final")
            getattr(_LIBRARY, f"{name}_Init")(self._context)

    def update(self, buf: memoryview) -> None:
        """Take the next bytes of the source."""
        if _LIBRARY is None:
            self._hash.update(buf)
        elif buf.readonly:
            self._update(self._context, bytes(buf), ctypes.c_size_t(len(buf)))
        elif len(buf):
            start = ctypes.addressof(ctypes.c_char.from_buffer(buf))
            self._update(self._context, ctypes.c_void_p(start), ctypes.c_size_t(len(buf)))

    def state(self) -> str:
        """What `restore` takes up; empty where it cannot be saved."""
        return base64.b64encode(self._context.raw).decode() if _LIBRARY else ""

    def restore(self, state: str) -> bool:
        """Go on from a saved state; False where it is none of ours."""
        try:
            raw = base64.b64decode(state, validate=True)
        except binascii.Error:
            return False
        if _LIBRARY is None or len(raw) != len(self._context):
            return False
        self._context.raw = raw
        return True

    def hex(self) -> str:
        """The digest of all bytes so far."""
        if _LIBRARY is None:
            return self._hash.hexdigest()
        out = ctypes.create_string_buffer(self._hash.digest_size)
        self._final(out, ctypes.create_string_buffer(self._context.raw, len(self._context)))
        return out.raw.hex()

    def verify(self, expected: Expected, name: str) -> None:
        """Nothing where the bytes are the promised ones. Raises ChecksumMismatch with both values."""
        found = self.hex()
        if not hmac.compare_digest(found, expected.hex):
            raise ChecksumMismatch(
                f"checksum validation failed: checksum mismatch: expected {expected.algorithm}:{expected.hex}, "
                f"found {self.algorithm}:{found} over the bytes of {name}. The source is not the file that the "
                "checksum was made of: correct the checksum or the URL"
            )

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex()}"
