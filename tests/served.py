"""A store behind its wire, as tests reach it: over HTTPS, with its kubeconfig."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from diskyard.api.meta import Obj
from diskyard.kube.http import HttpClient, connect
from diskyard.web import tls
from diskyard.web.server import Place, start
from standalone.access.aggregates import provide
from standalone.access.door import Door
from standalone.access.tokens import tokens, write_kubeconfig
from standalone.admission import Rules
from standalone.node.log import LogOptions
from standalone.store.objects import Objects
from standalone.wire.crowd import MOST, Most
from standalone.wire.logs import Logs
from standalone.wire.routes import application

LOCALHOST = "127.0.0.1"


@dataclass(frozen=True)
class Yard:
    """Where the server is, and how to be let in."""

    url: str
    token: str
    authority: Path
    kubeconfig: Path
    store: Objects
    client: HttpClient


def silent(_: Obj, __: LogOptions) -> Iterator[bytes]:
    """The logs of containers that say nothing."""
    return iter(())


@contextmanager
def served(
    folder: Path, logs: Logs = silent, rules: Rules | None = None, most: Most = MOST
) -> Iterator[Yard]:
    """A new store in that folder, served for as long as the block lasts."""
    now = datetime.now(UTC)
    authority = tls.authority(folder / "pki", "test", now)
    context = tls.context(tls.server(authority, folder / "pki", [LOCALHOST], now))
    known = tokens(folder / "pki")
    with Objects.open(folder / "store.db", rules) as store:
        provide(store)
        door = Door(store, known)
        if rules:
            rules.serve(store, door.policy)
        running = start(application(store, logs, door, most=most), Place(LOCALHOST, 0, context))
        kubeconfig = folder / "kubeconfig"
        write_kubeconfig(kubeconfig, running.url, authority.certificate, known.admin)
        client = connect(kubeconfig)
        try:
            yield Yard(running.url, known.admin, authority.certificate, kubeconfig, store, client)
        finally:
            client.close()
            running.stop()


@contextmanager
def client(folder: Path) -> Iterator[HttpClient]:
    """A client of such a store."""
    with served(folder) as yard:
        yield yard.client
