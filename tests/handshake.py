"""How a server speaks TLS with a client that is no newer than it says."""

import socket
import ssl
from urllib.parse import urlsplit

TLS_1_2 = ssl.TLSVersion.TLSv1_2
NEWEST = ssl.TLSVersion.MAXIMUM_SUPPORTED


def cipher(url: str, newest: ssl.TLSVersion = NEWEST) -> str:
    """The cipher that the two agree on; empty: on none."""
    where = urlsplit(url)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = newest
    try:
        with (
            socket.create_connection((where.hostname or "", where.port or 443), 60) as plain,
            context.wrap_socket(plain) as sock,
        ):
            return (sock.cipher() or ("",))[0]
    except (ssl.SSLError, ConnectionError):
        return ""
