"""Libraries that connect by themselves (boto3, google-auth), kept to the rules of our own requests."""

import ssl
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import InsecureRequestWarning

from importer import address
from importer.address import Policy
from importer.request import Access, certificates


def check(access: Access, url: str) -> None:
    """Nothing where such a library may connect to a URL's host. Raises InvalidRequest, SourceUnavailable."""
    parts = urlsplit(url)
    if access.proxy(parts):  # which resolves the name
        address.check_literal(parts.hostname or "", Policy(access.allowed))
    else:
        address.check(url, Policy(access.allowed))


def authorities(access: Access, while_open: ExitStack) -> str | bool | None:
    """What such a library takes as `verify`: a file of the system's authorities and those of the user.

    False: nothing is checked. None: the system keeps none where we look; the library uses its own.
    """
    if access.insecure:
        urllib3.disable_warnings(InsecureRequestWarning)  # the user has said so
        return False
    paths = ssl.get_default_verify_paths()
    candidates = (paths.cafile, f"{paths.capath or paths.openssl_capath}/ca-certificates.crt")
    system = [Path(path) for path in candidates if path and Path(path).is_file()][:1]
    if not access.ca_dir:
        return str(system[0]) if system else None
    _ = access.tls  # says which file is no certificate
    added = certificates(access.ca_dir)
    bundle = Path(while_open.enter_context(TemporaryDirectory(prefix="diskyard-")), "authorities.pem")
    bundle.write_bytes(b"\n".join(path.read_bytes() for path in (*system, *added)))
    return str(bundle)


def proxies(access: Access, url: str) -> dict[str, str]:
    """Scheme -> the proxy for a URL, if any."""
    parts = urlsplit(url)
    proxy = access.proxy(parts)
    return {parts.scheme: proxy.geturl()} if proxy else {}
