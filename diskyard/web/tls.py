"""Our own certificates in files: an authority for one installation, and a server's certificate signed by it.

Files have mode 0600 and appear whole or not at all. A certificate is made anew when less than a fifth of its life is
left.
"""

import os
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from diskyard import linux
from diskyard.web import issue
from diskyard.web.issue import Life, Pem

AUTHORITY_LIFE = timedelta(days=3650)
SERVER_LIFE = timedelta(days=365)
_LEFT = 0.2


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, as PEM files."""

    certificate: Path
    key: Path


def authority(folder: Path, name: str, now: datetime) -> Pair:
    """The authority in that folder (`ca.crt`, `ca.key`), made where there is none that still lasts."""
    pair = Pair(folder / "ca.crt", folder / "ca.key")
    kept = _certificate(pair)
    if kept is None or not issue.lasts(kept, now, _LEFT):
        keep(pair, issue.authority(name, Life(now, AUTHORITY_LIFE)))
    return pair


def server(ca: Pair, folder: Path, hosts: Sequence[str], now: datetime) -> Pair:
    """The certificate in that folder for servers at these names and addresses, made where none fits any more."""
    pair = Pair(folder / "server.crt", folder / "server.key")
    issuer = x509.load_pem_x509_certificate(ca.certificate.read_bytes())
    kept = _certificate(pair)
    fits = (
        kept is not None
        and issue.lasts(kept, now, _LEFT)
        and issue.hosts(kept) == set(hosts)
        and issue.signed_by(kept, issuer)
    )
    if not fits:
        try:
            keep(pair, issue.server(_read(ca), hosts, Life(now, SERVER_LIFE)))
        except ValueError as error:
            raise ValueError(f"{ca.key}: {error}; remove {ca.key.parent} and start again") from error
    return pair


def context(pair: Pair) -> ssl.SSLContext:
    """What a server needs to speak TLS 1.2 or later with that certificate."""
    found = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    found.minimum_version = ssl.TLSVersion.TLSv1_2
    found.load_cert_chain(pair.certificate, pair.key)
    return found


def harden(context: ssl.SSLContext, profile: Mapping[str, Any]) -> None:
    """Speak with new connections as a `tlsSecurityProfile` says; without one, as from the beginning.

    Never TLS older than 1.2, whatever it says. Its ciphers are those for 1.2; names that OpenSSL does not know are
    passed over, and where it knows none its own are kept.
    """
    custom = profile.get("custom") if profile.get("type") == "Custom" else None
    said = custom if isinstance(custom, dict) else {}
    newest_only = profile.get("type") == "Modern" or said.get("minTLSVersion") == "VersionTLS13"
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if newest_only else ssl.TLSVersion.TLSv1_2
    wanted = _known(said.get("ciphers") or ())
    if wanted != _ciphers(context):  # what does not differ is left: a handshake elsewhere reads the same list
        context.set_ciphers(":".join(wanted))


def _known(asked: Sequence[Any]) -> list[str]:
    """Those of the ciphers asked for that OpenSSL knows; its own where it knows none."""
    trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # a default one reads all authorities: 50 ms
    usual = _ciphers(trial)
    try:
        trial.set_ciphers(":".join(map(str, asked or usual)))
    except ssl.SSLError:
        return usual
    return _ciphers(trial)


def _ciphers(context: ssl.SSLContext) -> list[str]:
    return [each["name"] for each in context.get_ciphers()]


def keep(pair: Pair, pem: Pem) -> None:
    """Put a certificate and its key in place, whole and durable."""
    write_secret(pair.key, pem.key)
    write_secret(pair.certificate, pem.certificate)


def write_secret(path: Path, content: bytes) -> None:
    """Put a file of mode 0600 in place, whole and durable."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
    linux.sync_folder(path.parent)


def _read(pair: Pair) -> Pem:
    return Pem(pair.certificate.read_bytes(), pair.key.read_bytes())


def _certificate(pair: Pair) -> x509.Certificate | None:
    """The certificate; None where a file is missing, is damaged, or the key is not the certificate's."""
    try:
        return issue.certificate(_read(pair))
    except OSError:
        return None
