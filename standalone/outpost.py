"""An outpost: the yard's node and storage at the service of an API server elsewhere.

It registers a Node there, runs the pods that are bound to it, guests among them, provides volumes for the classes of
`diskyard.io/local`, and answers for the logs of its containers. What no scheduler or controller manager does there,
it does too. What it starts outlives it, as with a yard.
"""

import socket
import ssl
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, NAMESPACE, SNAPSHOT_CLASS, STORAGE_CLASS, Key, Obj
from diskyard.api.names import cdi, kubevirt
from diskyard.errors import AlreadyExists, Busy, InvalidRequest, NotFound
from diskyard.kube.client import Client
from diskyard.kube.http import HttpClient, connect
from diskyard.kube.reconcile import find
from diskyard.web import server, tls
from standalone import guestapi
from standalone.colleagues import FOUND_OUT, Duties
from standalone.crew import Crew, devices
from standalone.directory import Directory, Hold
from standalone.farguests import FarGuests
from standalone.guestapi import GuestApi
from standalone.guests import GuestControl
from standalone.node import heartbeat
from standalone.node.heartbeat import NO_NETWORK, Machine
from standalone.node.log import LogOptions
from standalone.node.network.network import Network, Unconnected, Wish, opened
from standalone.station import Station
from standalone.storage import snapshot
from standalone.storage.place import Place
from standalone.storage.volume import storage_classes
from standalone.wire import kubelet
from standalone.wire.doors import Guests
from vm_runtime.agent.host import Acceleration

CLIENTS: Final = Key("extension-apiserver-authentication", "kube-system")
"""The ConfigMap in which an API server says by which authority it knows its clients."""
_SYNC: Final = 60.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Post:
    """What an outpost is to its cluster; empty: found out."""

    kubeconfig: Path | None
    name: str = ""
    address: str = ""
    port: int = 10250
    guests_port: int = guestapi.PORT
    """Where the API server finds guests' subresources, while this node does their control plane."""
    client_authority: Path | None = None
    allowed: tuple[Path, ...] = ()
    """Directories of this machine that pods and volumes may name."""
    duties: Duties = FOUND_OUT
    subnet: IPv4Network | None = None
    """The addresses of guests; None: they have no network of their own."""


class Outpost(Station):
    """A node that serves, until closed. Closing leaves pods running."""

    def __init__(self, client: HttpClient, directory: Directory, post: Post) -> None:
        self._client = client
        self._directory = directory
        self._post = post
        self._stack = ExitStack()
        self.name = post.name or heartbeat.name()
        self.address = post.address or toward(client.url)
        self.port = 0

    @classmethod
    def open(cls, directory: Directory, post: Post, say: Say = print) -> "Outpost":
        """Start everything; `say` gets sentences for the user. Raises ApiError, Busy, InvalidRequest."""
        client = connect(post.kubeconfig)
        with ExitStack() as stack:
            stack.callback(client.close)
            found = cls(client, directory, post)
            found._hold = Hold.take(directory)
            stack.callback(found._hold.close)
            _stay_with(client, directory)
            _make_classes(client)
            stack.enter_context(found._stack)
            found._start(say)
            found._stack = stack.pop_all()
            return found

    @property
    def url(self) -> str:
        """The API server that it serves."""
        return self._client.url

    @property
    def guests(self) -> Guests:
        """The ways to the guests that run here."""
        return self._crew.guests

    def _start(self, say: Say) -> None:
        self._serve_logs(say)
        post = self._post
        network = self._network(say)
        machine = Machine(
            self.name, devices(network), self.address, post.duties, network=network, port=self.port
        )
        place = Place(self._directory.volumes, post.allowed, keeps=False)
        self._crew = Crew(self._directory, machine, place, self._stack)
        self._crew.work(self._client)
        if not self._crew.wait(_SYNC):
            raise Busy(
                f"{self.url} does not list its pods, claims and volumes: may this kubeconfig read them?"
            )
        self._crew.report(self._client)

        def heard(found: Acceleration) -> None:
            if not found.kvm:
                say(
                    f"KVM does not run guests here ({found.reason}): they come where KubeVirt {kubevirt.CR_NAME} says "
                    "useEmulation"
                )

        self._crew.offer_guests(self._client, heard)
        api = GuestApi(self._client, self._ways, guestapi.Post(self.address, post.guests_port), say)
        control = GuestControl(self._client, f"{self.name}_{uuid.uuid4()}", api)
        self._stack.callback(control.close)
        control.start()

    def _network(self, say: Say) -> Network | Unconnected:
        """For guests, where the operator says which addresses are theirs: on a cluster it is not ours to choose."""
        if self._post.subnet is None:
            return NO_NETWORK
        directory = self._directory
        return opened(directory.path, Wish(directory.network, self._post.subnet), say)

    def _serve_logs(self, say: Say) -> None:
        authority = self._clients()
        if not authority:
            self.port = self._post.port
            say(
                f"no logs for kubectl: {CLIENTS} names no authority for clients; give --client-ca FILE, the one that "
                "signed the API server's --kubelet-client-certificate"
            )
            return
        pki, now = self._directory.pki, datetime.now(UTC)
        names = tuple(dict.fromkeys((self.name, self.address)))
        context = tls.context(tls.server(tls.authority(pki, "diskyard", now), pki, names, now))
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(cadata=authority)
        except (ssl.SSLError, ValueError) as error:
            raise InvalidRequest(f"the authority for clients is no PEM certificate: {error}") from error
        app = kubelet.application(self._client, self._logs, lambda: self.guests, self.name)
        running = server.start(app, server.Place(self.address, self._post.port, context))
        self._stack.callback(running.stop)
        self.port = running.port

    def _ways(self, pod: Obj) -> Guests:
        node = str(meta.spec(pod).get("nodeName") or "")
        return self.guests if node == self.name else FarGuests(self._client, node)

    def _logs(self, pod: Obj, options: LogOptions) -> Iterator[bytes]:
        return self._crew.node.logs(pod, options)

    def _clients(self) -> str:
        """The certificates of those who sign for clients of the cluster."""
        if self._post.client_authority:
            return self._post.client_authority.read_text()
        found = find(self._client, CONFIG_MAP, CLIENTS) or {}
        return str((found.get("data") or {}).get("client-ca-file") or "")


def toward(url: str) -> str:
    """This machine's address on the way to a server: where that server finds it."""
    parts = urlsplit(url)
    host_, port = parts.hostname or "127.0.0.1", parts.port or 443
    try:
        family, kind, _, _, address = socket.getaddrinfo(host_, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as way:
            way.connect(address)
            return str(way.getsockname()[0])
    except OSError as error:
        raise InvalidRequest(
            f"no way to {host_}: {error}; give --address, where it finds this machine"
        ) from error


def _stay_with(client: Client, directory: Directory) -> None:
    """A data directory belongs to one cluster: another one does not know its pods, and would have them ended."""
    if directory.store.exists():
        raise InvalidRequest(f"{directory.path} is a yard's own: give `diskyard node` another --data-dir")
    cluster = meta.uid(client.get(NAMESPACE, Key("kube-system")))
    mark = directory.path / "cluster"
    known = mark.read_text().strip() if mark.exists() else ""
    if known and known != cluster:
        raise InvalidRequest(
            f"{directory.path} holds pods and volumes of another cluster (kube-system has uid {known} there, here "
            f"{cluster}): give another --data-dir, or the kubeconfig of that cluster"
        )
    mark.write_text(cluster + "\n")


def _make_classes(client: Client) -> None:
    """Our storage classes where their names are free, never as the default; that of snapshots where it knows such."""
    for each in storage_classes():
        kept = {name: text for name, text in meta.annotations(each).items() if name != cdi.DEFAULT_CLASS}
        with suppress(AlreadyExists):
            client.create(STORAGE_CLASS, {**each, "metadata": {**meta.meta(each), "annotations": kept}})
    for each in snapshot.classes():
        with suppress(AlreadyExists, NotFound):
            client.create(SNAPSHOT_CLASS, each)
