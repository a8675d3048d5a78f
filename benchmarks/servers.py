"""Where images come from while imports are measured: nginx, docker-registry, an S3 server, all on loopback."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

import trustme
from images import Shelf

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.builders import eventually
from tests.importer.registries import free_port, registry

_NGINX: Final = """
daemon off;
master_process off;
pid {folder}/pid;
events {{}}
http {{
  sendfile on;
  log_format short '$request_method $status';
  access_log {folder}/access.log short;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    listen 127.0.0.1:{tls} ssl;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.key;
    root {root};
    location /slow/ {{ alias {root}/; limit_rate 50m; }}
    location /narrow/ {{ alias {root}/; limit_rate 20m; }}
  }}
}}
"""
_LOGIN: Final = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@dataclass(frozen=True)
class Home:
    """How an image is reached: by us, and by the peers."""

    source: str
    url: str
    options: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    curl: str = ""
    """Options of curl, as its configuration file has them."""
    blob: str = ""


@dataclass
class Servers:
    """Servers over a shelf, each started when it is needed first."""

    shelf: Shelf
    folder: Path
    _stack: ExitStack

    def home(self, door: str, name: str) -> Home:
        """An image behind a door: plain, slow, narrow, tls, registry or s3."""
        image = self.shelf.image(name)
        if door == "registry":
            return self._pushed(name)
        if door == "s3":
            return self._stored(image)
        plain, tls = self._nginx
        if door == "tls":
            authority = str(self.folder / "authority.pem")
            url = f"https://localhost:{tls}/{name}"
            return Home(url, url, env={"SSL_CERT_FILE": authority}, curl=f'cacert = "{authority}"')
        url = f"http://127.0.0.1:{plain}/{'' if door == 'plain' else door + '/'}{name}"
        return Home(url, url)

    def served(self, door: str, name: str) -> Path:
        """The file, or the folder, that an image behind a door is read from."""
        return self.shelf.folder / "registry" if door == "registry" else self.shelf.image(name)

    def requests(self) -> int:
        """How many nginx has answered."""
        log = self.folder / "access.log"
        return len(log.read_text().splitlines()) if log.exists() else 0

    @cached_property
    def _nginx(self) -> tuple[int, int]:
        port, tls = free_port(), free_port()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.folder / "authority.pem"))
        leaf = authority.issue_cert("localhost")
        leaf.private_key_pem.write_to_path(str(self.folder / "server.key"))
        leaf.cert_chain_pems[0].write_to_path(str(self.folder / "server.pem"))
        configuration = self.folder / "nginx.conf"
        configuration.write_text(
            _NGINX.format(folder=self.folder, root=self.shelf.folder, port=port, tls=tls)
        )
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        self._start(
            [nginx, "-c", str(configuration), "-p", str(self.folder), "-e", str(self.folder / "error.log")]
        )
        _await_answer(port)
        return port, tls

    def _pushed(self, name: str) -> Home:
        url = f"docker://{self._registry}/{Path(name).stem}:v1"
        store = self.shelf.folder / "registry"
        done = store / f"{name}.pushed"
        layout = self.shelf.image(name)
        if not done.exists():
            copy = ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}", url]
            subprocess.run(copy, check=True)
            done.touch()
        listed = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
        manifest = json.loads((layout / "blobs/sha256" / listed.partition(":")[2]).read_text())
        blob = f"http://{self._registry}/v2/{Path(name).stem}/blobs/{manifest['layers'][0]['digest']}"
        return Home(url, url, ("--insecure",), blob=blob)

    @cached_property
    def _registry(self) -> str:
        store = self.shelf.folder / "registry"
        return self._stack.enter_context(registry(self.folder / "registry", store)).host

    def _stored(self, image: Path) -> Home:
        """moto's server, which keeps objects in memory."""
        port = free_port()
        self._start([str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)])
        _await_answer(port)
        server = f"http://127.0.0.1:{port}"
        curl = 'user = "bench:bench"\naws-sigv4 = "aws:amz:us-east-1:s3"\n'
        options = self.folder / "s3.curl"
        options.write_text(curl)
        for more in (["-X", "PUT", f"{server}/images"], ["-T", str(image), f"{server}/images/{image.name}"]):
            subprocess.run(["curl", "-sSfK", options, "-o", "/dev/null", *more], check=True)
        place = f"images/{image.name}"
        return Home(f"s3://{place}", f"{server}/{place}", ("--endpoint-url", server), _LOGIN, curl)

    def _start(self, command: list[str]) -> None:
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)


@contextmanager
def servers(shelf: Shelf, folder: Path) -> Iterator[Servers]:
    """Servers that end with the block."""
    with ExitStack() as stack:
        yield Servers(shelf, folder, stack)


def _await_answer(port: int) -> None:
    ask = ["curl", "-s", "-o", "/dev/null", f"http://127.0.0.1:{port}/"]
    eventually(lambda: subprocess.run(ask, check=False).returncode == 0)
