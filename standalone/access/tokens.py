"""Who may ask: one administrator's bearer token, and the kubeconfig that carries it."""

import base64
import hmac
import secrets
from dataclasses import dataclass
from pathlib import Path

import yaml

from diskyard.web.tls import write_secret

CONTEXT = "diskyard"


@dataclass(frozen=True)
class Tokens:
    """The tokens that this yard accepts."""

    admin: str

    def known(self, token: str) -> bool:
        """Whether that is the administrator's; takes equally long for every wrong one."""
        return hmac.compare_digest(token.encode(), self.admin.encode())


def tokens(folder: Path) -> Tokens:
    """The tokens kept in that folder, made at the first start."""
    path = folder / "admin.token"
    if not path.exists():
        write_secret(path, secrets.token_urlsafe(32).encode())
    return Tokens(path.read_text().strip())


def write_kubeconfig(path: Path, url: str, authority: Path, token: str) -> None:
    """Put a kubeconfig in place that makes kubectl the administrator of the server at `url`."""
    certificate = base64.b64encode(authority.read_bytes()).decode()
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": CONTEXT, "cluster": {"server": url, "certificate-authority-data": certificate}}
        ],
        "users": [{"name": CONTEXT, "user": {"token": token}}],
        "contexts": [
            {"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT, "namespace": "default"}}
        ],
        "current-context": CONTEXT,
    }
    write_secret(path, yaml.safe_dump(content, sort_keys=False).encode())
