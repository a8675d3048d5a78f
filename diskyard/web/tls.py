"""Our own certificates: an authority for one installation, and a server's certificate signed by it.

Keys are P-256; files have mode 0600 and appear whole or not at all. A certificate is made anew when less than a
fifth of its life is left.
"""

import ipaddress
import os
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE = timedelta(days=3650)
SERVER_LIFE = timedelta(days=365)
_SKEW = timedelta(minutes=5)


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, as PEM files."""

    certificate: Path
    key: Path


def authority(folder: Path, name: str, now: datetime) -> Pair:
    """The authority in that folder (`ca.crt`, `ca.key`), made where there is none that still lasts."""
    pair = Pair(folder / "ca.crt", folder / "ca.key")
    kept = _certificate(pair)
    if kept is None or not _lasts(kept, now):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name)
        draft = _draft(subject, subject, key, (now - _SKEW, now + AUTHORITY_LIFE))
        draft = draft.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        draft = draft.add_extension(_usage(signs_certificates=True), critical=True)
        _keep(pair, draft.sign(key, hashes.SHA256()), key)
    return pair


def server(ca: Pair, folder: Path, hosts: Sequence[str], now: datetime) -> Pair:
    """The certificate in that folder for servers at these names and addresses, made where none fits any more."""
    pair = Pair(folder / "server.crt", folder / "server.key")
    issuer = x509.load_pem_x509_certificate(ca.certificate.read_bytes())
    kept = _certificate(pair)
    if kept is None or not _lasts(kept, now) or _hosts(kept) != set(hosts) or not _signed_by(kept, issuer):
        signer = serialization.load_pem_private_key(ca.key.read_bytes(), None)
        if not isinstance(signer, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{ca.key}: expected an EC key; remove {ca.key.parent} and start again")
        key = ec.generate_private_key(ec.SECP256R1())
        draft = _draft(_name(hosts[0]), issuer.subject, key, (now - _SKEW, now + SERVER_LIFE))
        draft = draft.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        draft = draft.add_extension(_usage(signs_certificates=False), critical=True)
        draft = draft.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        draft = draft.add_extension(
            x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
        )
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        _keep(pair, draft.add_extension(identifier, critical=False).sign(signer, hashes.SHA256()), key)
    return pair


def context(pair: Pair) -> ssl.SSLContext:
    """What a server needs to speak TLS 1.2 or later with that certificate."""
    found = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    found.minimum_version = ssl.TLSVersion.TLSv1_2
    found.load_cert_chain(pair.certificate, pair.key)
    return found


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
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _draft(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, life: tuple[datetime, datetime]
) -> x509.CertificateBuilder:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(life[0])
        .not_valid_after(life[1])
        .add_extension(identifier, critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _hosts(certificate: x509.Certificate) -> set[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in names}


def _lasts(certificate: x509.Certificate, now: datetime) -> bool:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return begin <= now < end - (end - begin) / 5


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _certificate(pair: Pair) -> x509.Certificate | None:
    """The certificate; None where a file is missing, is damaged, or the key is not the certificate's."""
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    except (OSError, ValueError):
        return None
    return certificate if key.public_key() == certificate.public_key() else None


def _keep(pair: Pair, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    write_secret(pair.key, private)
    write_secret(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))
