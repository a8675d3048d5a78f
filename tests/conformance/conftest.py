"""The implementations of Client that one suite holds to one contract."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from diskyard.api.meta import NAMESPACE
from diskyard.kube.client import Client
from standalone.store.objects import Objects
from tests import builders, served
from tests.cluster.server import Cluster
from tests.conformance import servers
from tests.conformance.exchange import Line, Server

_numbers = itertools.count(1)

SERVERS = ["ours", pytest.param("real", marks=pytest.mark.cluster)]
IMPLEMENTATIONS: dict[str, Callable[[Path], AbstractContextManager[Client]]] = {
    "store": lambda folder: Objects.open(folder / "store.db"),
    "http": served.client,
}


@pytest.fixture(scope="module", params=sorted(IMPLEMENTATIONS))
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with IMPLEMENTATIONS[request.param](tmp_path_factory.mktemp("yard")) as implementation:
        yield implementation


@pytest.fixture
def place(client: Client) -> str:
    """The name of a namespace that no other test uses."""
    name = f"place-{next(_numbers)}"
    client.create(NAMESPACE, builders.namespace(name))
    return name


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Our server, with the controllers that every Kubernetes has."""
    with servers.ours(tmp_path_factory.mktemp("ours")) as running:
        yield running


@pytest.fixture(scope="session")
def theirs(real: Cluster) -> Server:
    """A real server, with the same kinds."""
    return servers.theirs(real)


@pytest.fixture(scope="session", params=SERVERS)
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    """A connection to one of the servers that the stories are told to."""
    found: Line = Line(request.getfixturevalue({"ours": "ours", "real": "theirs"}[request.param]))
    yield found
    found.close()
