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

_numbers = itertools.count(1)

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
