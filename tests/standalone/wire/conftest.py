"""One served store for a module, and requests to it as any HTTP client sends them."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import urllib3

from diskyard.api import meta
from diskyard.api.meta import NAMESPACE, Obj
from diskyard.errors import BadRequest
from standalone.node.log import LogOptions
from tests import builders
from tests.served import Yard, served

JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def obj(self) -> Obj:
        found: Obj = json.loads(self.raw)
        return found


@dataclass(frozen=True)
class Wire:
    """Requests with the administrator's token; `send` with whatever is said."""

    yard: Yard
    pool: urllib3.PoolManager
    said: dict[str, str] = field(default_factory=dict)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"Authorization": f"Bearer {self.yard.token}", "Content-Type": JSON, **said}
        answer = self.pool.request(method, self.yard.url + path, body=raw, headers=sent, retries=False)
        return Answer(answer.status, answer.headers, answer.data)

    def get(self, path: str, accept: str = JSON) -> Answer:
        return self.send("GET", path, Accept=accept)


def log(pod: Obj, options: LogOptions) -> Iterator[bytes]:
    """Three lines; when followed, a fourth a little later and no end before the reader has gone."""
    if options.previous:
        raise BadRequest(f"previous terminated container of pod {meta.name(pod)} not found")
    lines = [f"{meta.name(pod)} {number}\n".encode() for number in range(3)]
    yield from lines if options.tail is None else lines[len(lines) - options.tail :]
    if options.follow:
        yield b""
        yield b"and more\n"
    while options.follow:
        time.sleep(0.05)
        yield b""


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with served(tmp_path_factory.mktemp("yard"), log) as running:
        yield running


@pytest.fixture(scope="module")
def wire(yard: Yard) -> Iterator[Wire]:
    pool = urllib3.PoolManager(ca_certs=str(yard.authority))
    yield Wire(yard, pool)
    pool.clear()


@pytest.fixture
def place(yard: Yard, request: pytest.FixtureRequest) -> str:
    """A namespace of the test's own."""
    made = yard.store.create(NAMESPACE, {"metadata": {"generateName": "place-"}})
    return meta.name(made)


@pytest.fixture
def volume(yard: Yard, place: str) -> Callable[..., Obj]:
    """Puts a DataVolume into the test's namespace."""

    def put(name: str, **metadata: Any) -> Obj:
        obj = builders.data_volume(name)
        return yard.store.create(
            builders.DATA_VOLUME, obj | {"metadata": {"name": name, "namespace": place, **metadata}}
        )

    return put
