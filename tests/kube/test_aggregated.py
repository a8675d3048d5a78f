"""An aggregated API: who asks is believed only from the front proxy, and may only what the server allows."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
import requests
from aiohttp import web

from diskyard.api.meta import CONFIG_MAP, Key, Kind, Obj
from diskyard.api.user import User
from diskyard.kube import aggregated
from diskyard.kube.access import Access
from diskyard.kube.aggregated import FrontProxy, Resource, front_proxy
from diskyard.web import issue, tls
from diskyard.web.issue import Life
from diskyard.web.server import Place, start
from standalone.store.objects import Objects
from tests import builders

TOKENS = Kind(
    "upload.cdi.kubevirt.io", "v1beta1", "UploadTokenRequest", "uploadtokenrequests", short=("utr",)
)
PATH = "/apis/upload.cdi.kubevirt.io/v1beta1"
HEADERS = {"X-Remote-User": "ann", "X-Remote-Group": "staff", "X-Remote-Extra-Scopes": "a"}


@dataclass
class Server:
    url: str
    bundle: str
    certificates: dict[str, tuple[str, str]]

    def create(self, who: str, namespace: str = "default", **headers: str) -> "requests.Response":
        with requests.Session() as session:
            return session.post(
                f"{self.url}{PATH}/namespaces/{namespace}/uploadtokenrequests",
                json={"metadata": {"name": "t"}},
                headers={**HEADERS, **headers},
                verify=self.bundle,
                cert=self.certificates.get(who),
                timeout=60,
            )


def token(user: User, key: Key, sent: Obj) -> Obj:
    said = {
        "user": user.name,
        "groups": list(user.groups),
        "extra": {k: list(v) for k, v in user.extra.items()},
    }
    return {**sent, "status": {"token": f"for {key}", **said}}


def may(user: User, access: Access) -> bool:
    return (user.name, access.verb, access.resource, access.namespace) == (
        "ann", "create", TOKENS.plural, "default",
    )  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("aggregated")
    now = datetime.now(UTC)
    life = Life(now, timedelta(hours=1))
    ours = tls.authority(folder, "ours", now)
    context = tls.context(tls.server(ours, folder, ["127.0.0.1"], now))
    theirs = issue.authority("front-proxy-ca", life)
    certificates = {}
    for name in ("front-proxy", "somebody"):
        pair = tls.Pair(folder / f"{name}.crt", folder / f"{name}.key")
        tls.keep(pair, issue.client(theirs, name, life))
        certificates[name] = (str(pair.certificate), str(pair.key))
    proxy = FrontProxy(theirs.certificate.decode(), ("front-proxy",))
    aggregated.admit(context, proxy)
    app = web.Application()
    older = replace(TOKENS, version="v1alpha1")
    aggregated.serve(app, [Resource(TOKENS, token), Resource(older, token)], lambda: proxy, may)
    running = start(app, Place("127.0.0.1", 0, context))
    yield Server(running.url, str(ours.certificate), certificates)
    running.stop()


def test_the_front_proxys_word_on_who_asks_is_taken(server: Server) -> None:
    answer = server.create("front-proxy")

    assert answer.status_code == 200
    assert answer.json()["status"] == {
        "token": "for default/t", "user": "ann", "groups": ["staff"], "extra": {"scopes": ["a"]},
    }  # fmt: skip
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("who", ["nobody", "somebody"], ids=["no certificate", "another's certificate"])
def test_nobody_elses_word_is(server: Server, who: str) -> None:
    answer = server.create(who)

    assert (answer.status_code, answer.json()["message"]) == (401, "request is not authenticated")


def test_who_may_not_is_told_what(server: Server) -> None:
    answer = server.create("front-proxy", "golden")

    assert answer.status_code == 401
    assert 'User "ann" cannot create resource "uploadtokenrequests"' in answer.json()["message"]


def test_without_a_user_nobody_asks(server: Server) -> None:
    assert server.create("front-proxy", **{"X-Remote-User": ""}).status_code == 401


def test_tells_what_there_is(server: Server) -> None:
    with requests.Session() as session:
        found = session.get(f"{server.url}{PATH}", verify=server.bundle, timeout=60).json()
        groups = session.get(f"{server.url}/apis", verify=server.bundle, timeout=60).json()
    assert found["resources"] == [
        {
            "name": "uploadtokenrequests", "singularName": "uploadtokenrequest", "namespaced": True,
            "kind": "UploadTokenRequest", "verbs": ["create"], "shortNames": ["utr"],
        }
    ]  # fmt: skip
    (group,) = groups["groups"]
    assert group["name"] == "upload.cdi.kubevirt.io"
    assert [each["version"] for each in group["versions"]] == ["v1beta1", "v1alpha1"]


def test_reads_whom_to_believe_as_the_server_publishes_it(store: Objects) -> None:
    said = {
        "requestheader-client-ca-file": "PEM",
        "requestheader-allowed-names": '["front-proxy-client"]',
        "requestheader-group-headers": '["X-Groups"]',
    }
    obj = builders.config_map("extension-apiserver-authentication", **said)
    obj["metadata"]["namespace"] = "kube-system"
    store.create(CONFIG_MAP, obj)

    found = front_proxy(store)

    assert found == FrontProxy("PEM", ("front-proxy-client",), group_headers=("X-Groups",))
