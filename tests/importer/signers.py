"""Keys of one's own, to sign files of checksums with."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.builders import eventually


@dataclass(frozen=True)
class Signer:
    """A key, and what it signs."""

    home: Path

    def gpg(self, *words: str, given: bytes = b"") -> bytes:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", "--passphrase", "", *words]
        return subprocess.run(command, check=True, input=given, capture_output=True).stdout

    def keyring(self, path: Path, *options: str) -> Path:
        path.write_bytes(self.gpg(*options, "--export"))
        return path

    def signature(self, text: bytes) -> bytes:
        """A detached one."""
        return self.gpg("--detach-sign", given=text)

    @property
    def key(self) -> str:
        listed = self.gpg("--list-keys", "--with-colons").decode().splitlines()
        return next(line.split(":")[4] for line in listed if line.startswith("pub"))


@contextmanager
def signing() -> Iterator[Signer]:
    """A key for a while. In a short path, for the agent's socket."""
    home = Path(tempfile.mkdtemp(prefix="gpg-"))
    try:
        signer = Signer(home)
        signer.gpg("--quick-generate-key", "Images <images@example.com>", "ed25519", "sign", "never")
        yield signer
    finally:
        environment = os.environ | {"GNUPGHOME": str(home)}
        subprocess.run(["gpgconf", "--kill", "all"], check=True, env=environment)
        eventually(lambda: _gone(home))


def _gone(home: Path) -> bool:
    """Whether a folder is removed: an agent that ends takes its sockets out of it at the same moment."""
    shutil.rmtree(home, ignore_errors=True)
    return not home.exists()
