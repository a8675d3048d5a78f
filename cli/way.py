"""A way to an upload proxy: where it is reached, and how it is known for the right one."""

from dataclasses import dataclass
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter


@dataclass(frozen=True)
class Way:
    """Where the proxy is reached, and how it is known."""

    url: str
    verify: str | bool
    """A file of authorities, True for the machine's own, False for none."""
    host: str = ""
    """The name in its certificate, where that is not the URL's."""


class Named(HTTPAdapter):
    """Asks for a name, and expects it in the certificate, whatever the URL says."""

    def __init__(self, host: str) -> None:
        self._host = host
        super().__init__()

    def init_poolmanager(self, *args: Any, **more: Any) -> Any:
        return super().init_poolmanager(*args, **more, server_hostname=self._host, assert_hostname=self._host)


def session(way: Way) -> requests.Session:
    """What asks the proxy in that way, for the caller to close."""
    found = requests.Session()
    found.verify = way.verify
    found.trust_env = way.verify is True and not way.host
    if way.verify is False:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # it is what was asked for
    if way.host:
        found.mount("https://", Named(way.host))
    return found
