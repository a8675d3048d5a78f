"""An API server over a real store, and the command line pointed at it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.__main__ import door
from diskyard.api import meta
from diskyard.api.meta import Obj
from diskyard.web import server, tls
from standalone.access.door import Door
from standalone.access.tokens import tokens, write_kubeconfig
from standalone.node.log import LogOptions
from standalone.seed import seed
from standalone.store.objects import Objects
from standalone.wire.routes import application

Diskyard = Callable[..., Result]


def words(pod: Obj, options: LogOptions) -> Iterator[bytes]:
    """What every pod of these tests says."""
    yield f"words of {meta.name(pod)}\n".encode()


@dataclass(frozen=True)
class Served:
    """A store that is served, and how to reach it."""

    objects: Objects
    kubeconfig: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    with Objects.open(folder / "store.db") as objects:
        seed(objects)
        authority = tls.authority(folder, "diskyard", datetime.now(UTC))
        pair = tls.server(authority, folder, ("localhost", "127.0.0.1"), datetime.now(UTC))
        admitted = tokens(folder)
        place = server.Place("127.0.0.1", 0, tls.context(pair))
        running = server.start(application(objects, words, Door(objects, admitted)), place)
        try:
            kubeconfig = folder / "kubeconfig"
            write_kubeconfig(kubeconfig, running.url, authority.certificate, admitted.admin)
            yield Served(objects, kubeconfig)
        finally:
            running.stop()


@pytest.fixture
def diskyard(served: Served) -> Diskyard:
    """Runs a command against the served store: `diskyard("get", "dv")`."""

    def run(*arguments: str, given: str = "") -> Result:
        command = [*arguments, "--kubeconfig", str(served.kubeconfig)]
        return CliRunner().invoke(door, command, input=given)

    return run
