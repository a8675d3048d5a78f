"""Makes certificates: an authority, and what it signs for servers and clients. P-256; PEM in memory; no I/O."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_SKEW: Final = timedelta(minutes=5)


@dataclass(frozen=True)
class Pem:
    """A certificate and its private key."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class Life:
    """From when, and for how long."""

    now: datetime
    length: timedelta


def authority(name: str, life: Life) -> Pem:
    """An authority that may sign servers and clients, and no further authorities."""
    key = ec.generate_private_key(ec.SECP256R1())
    draft = _draft(_name(name), _name(name), key, life)
    draft = draft.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    draft = draft.add_extension(_usage(signs_certificates=True), critical=True)
    return _pem(draft.sign(key, hashes.SHA256()), key)


def server(ca: Pem, hosts: Sequence[str], life: Life) -> Pem:
    """A certificate for servers at these names and addresses. Raises ValueError for a key that is not ours."""
    names = x509.SubjectAlternativeName([_host(host) for host in hosts])
    return _signed(ca, hosts[0], life, (ExtendedKeyUsageOID.SERVER_AUTH, names))


def client(ca: Pem, name: str, life: Life) -> Pem:
    """A certificate by which a client shows that it is `name`. Raises ValueError for a key that is not ours."""
    return _signed(ca, name, life, (ExtendedKeyUsageOID.CLIENT_AUTH, None))


def certificate(pem: Pem) -> x509.Certificate | None:
    """The certificate; None where it is damaged, or the key is not its own."""
    try:
        found = x509.load_pem_x509_certificate(pem.certificate)
        key = serialization.load_pem_private_key(pem.key, None)
    except ValueError:
        return None
    return found if key.public_key() == found.public_key() else None


def lasts(found: x509.Certificate, now: datetime, left: float) -> bool:
    """Whether it is good now, and more than that part of its life is left."""
    begin, end = found.not_valid_before_utc, found.not_valid_after_utc
    return begin <= now < end - (end - begin) * left


def hosts(found: x509.Certificate) -> set[str]:
    """The names and addresses that it is for."""
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in names}


def signed_by(found: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether that authority has signed it."""
    try:
        found.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _signed(
    ca: Pem, name: str, life: Life, use: tuple[x509.ObjectIdentifier, x509.SubjectAlternativeName | None]
) -> Pem:
    issuer = x509.load_pem_x509_certificate(ca.certificate)
    signer = serialization.load_pem_private_key(ca.key, None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise ValueError(f"expected an EC key of our own making, found {type(signer).__name__}")  # noqa: TRY004
    key = ec.generate_private_key(ec.SECP256R1())
    draft = _draft(_name(name), issuer.subject, key, life)
    draft = draft.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    draft = draft.add_extension(_usage(signs_certificates=False), critical=True)
    purpose, names = use
    draft = draft.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    if names is not None:
        draft = draft.add_extension(names, critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return _pem(draft.add_extension(identifier, critical=False).sign(signer, hashes.SHA256()), key)


def _draft(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, life: Life
) -> x509.CertificateBuilder:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(life.now - _SKEW)
        .not_valid_after(life.now + life.length)
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
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(found: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pem:
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return Pem(found.public_bytes(serialization.Encoding.PEM), private)
