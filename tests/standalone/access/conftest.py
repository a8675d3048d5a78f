"""A served yard whose rules hold, and people who ask it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes import client

from diskyard.api import meta
from diskyard.api.meta import NAMESPACE, ROLE, ROLE_BINDING, SERVICE_ACCOUNT
from standalone.admission import Rules
from tests.builders import some
from tests.served import Yard, served

Api = client.ApiClient
As = Callable[..., Api]


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    folder = tmp_path_factory.mktemp("access")
    (folder / "pki").mkdir(0o700)
    (folder / "pki" / "tokens.csv").write_text('ann-token,ann,17,"builders,testers"\n')
    with served(folder, rules=Rules()) as running:
        yield running


@pytest.fixture
def place(yard: Yard) -> str:
    """A namespace of the test's own, with the ServiceAccount `worker`."""
    name = meta.name(yard.store.create(NAMESPACE, {"metadata": {"generateName": "place-"}}))
    yard.store.create(SERVICE_ACCOUNT, some(SERVICE_ACCOUNT, "worker", name))
    return name


@pytest.fixture
def bearer(yard: Yard) -> Iterator[As]:
    """The official client with a token, or the administrator's for another (`as_`)."""
    opened: list[Api] = []

    def found(token: str = yard.token, **headers: str) -> Api:
        settings = client.Configuration(host=yard.url)
        settings.ssl_ca_cert = str(yard.authority)
        settings.api_key["authorization"] = f"Bearer {token}"
        settings.retries = False
        api = Api(settings)
        for name, value in headers.items():
            api.set_default_header(name.replace("_", "-"), value)
        opened.append(api)
        return api

    yield found
    for api in opened:
        api.close()


@pytest.fixture
def worker(bearer: As, place: str) -> Api:
    """The ServiceAccount `worker`, by a token that it was given."""
    core: Any = client.CoreV1Api(bearer())
    return bearer(core.create_namespaced_service_account_token("worker", place, {"spec": {}}).status.token)


@pytest.fixture
def allow(yard: Yard, place: str) -> Callable[..., None]:
    """Lets `worker` do something in the test's namespace."""

    def put(*rules: dict[str, list[str]], name: str = "some") -> None:
        yard.store.create(ROLE, some(ROLE, name, place, rules=list(rules)))
        account = {"kind": "ServiceAccount", "name": "worker", "namespace": place}
        role = {"kind": "Role", "name": name, "apiGroup": ROLE.group}
        yard.store.create(ROLE_BINDING, some(ROLE_BINDING, name, place, roleRef=role, subjects=[account]))

    return put
