"""Run in a network namespace of its own: one server on public, private and other addresses, and requests among them.

Says on standard output, as JSON, what became of each case that it is given: a list of the hosts that a chain of
redirects goes through, and the networks that are allowed.
"""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from diskyard.errors import DiskyardError
from importer.address import networks
from importer.registry.client import Repository
from importer.registry.reference import Reference
from importer.request import Access, get

ADDRESSES = ("8.8.8.8/32", "9.9.9.9/32", "10.0.0.5/32", "169.254.169.254/32", "169.254.7.7/32")
BODY = b"reached"
REGISTRY = "registry"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """`/host/host` redirects to the first host with the rest; `/` is the end; `/v2/host/` wants a token of it."""
        if self.path.startswith("/v2/"):
            self.send_challenge(self.path.split("/")[2])
            return
        host, _, rest = self.path.partition("?")[0].strip("/").partition("/")
        self.send_response(302 if host else 200)
        if host:
            self.send_header("Location", f"http://{host}:{self.connection.getsockname()[1]}/{rest}")
        self.send_header("Content-Length", "0" if host else str(len(BODY)))
        self.end_headers()
        self.wfile.write(b"" if host else BODY)

    def send_challenge(self, host: str) -> None:
        realm = f"http://{host}:{self.connection.getsockname()[1]}/"
        self.send_response(401)
        self.send_header("WWW-Authenticate", f'Bearer realm="{realm}",service="images"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def outcome(port: int, hosts: list[str], allowed: str) -> str:
    first, *others = hosts
    if first == REGISTRY:
        return signed_in(f"{others[0]}:{port}", others[1], allowed)
    url = f"http://{first}:{port}/{'/'.join(others)}"
    try:
        answer = get(url, Access(allowed=networks(allowed)), {})
    except DiskyardError as error:
        return str(error)
    answer.close()
    return "reached"


def signed_in(registry: str, realm: str, allowed: str) -> str:
    """What becomes of a registry that wants a token of another host."""
    try:
        access = Access(insecure=True, allowed=networks(allowed))
        Repository(Reference(registry, realm, "v1"), access, None).manifest("v1")
    except DiskyardError as error:
        return "reached" if "gave no token" in str(error) else str(error)
    return "signed in"


def main() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in ADDRESSES:
        subprocess.run(["ip", "address", "add", address, "dev", "lo"], check=True)
    with ThreadingHTTPServer(("0.0.0.0", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cases = json.loads(sys.argv[1])
        print(json.dumps([outcome(server.server_port, hosts, allowed) for hosts, allowed in cases]))
        server.shutdown()


if __name__ == "__main__":
    main()
