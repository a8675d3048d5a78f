"""Who may read an image, where it is looked for, and who is told the password."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from diskyard.errors import AccessDenied, InvalidRequest, SourceMissing, SourceUnavailable
from tests.disk.tars import entry, tar
from tests.importer.publisher import DISK, Publisher, imported
from tests.importer.registries import PASSWORD, USER, Registry, passwords, registry, token_server


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def private(
    tmp_path_factory: pytest.TempPathFactory, store: Path, authority: trustme.CA
) -> Iterator[Registry]:
    """The same images over TLS, for those who know the password."""
    folder = tmp_path_factory.mktemp("private")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "pem"))
    http = {"tls": {"certificate": str(folder / "pem"), "key": str(folder / "pem")}}
    with registry(folder, store, auth=passwords(folder), http=http) as found:
        yield found


@pytest.fixture
def trusted(tmp_path: Path, authority: trustme.CA) -> str:
    """A folder with the authority's certificate."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    authority.cert_pem.write_to_path(str(folder / "ca.crt"))
    return str(folder)


@pytest.fixture
def secret_image(pushed: Publisher, private: Registry) -> str:
    return pushed.push(tar([entry("disk/x", DISK)])).replace(pushed.registry.host, private.host)


def test_a_password_opens_a_private_registry(secret_image: str, trusted: str, volume: Path) -> None:
    job = {"insecure_tls": False, "cert_dir": trusted, "access_key": USER, "secret_key": PASSWORD}

    assert imported(volume, secret_image, **job) == DISK


@pytest.mark.parametrize("key", ["{host}", "https://{host}/v1/", "{host}/{name}"])
def test_a_pull_secret_opens_a_private_registry(
    secret_image: str, trusted: str, volume: Path, tmp_path: Path, key: str
) -> None:
    host, _, name = secret_image.removeprefix("docker://").removesuffix(":v1").partition("/")
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    entries = {key.format(host=host, name=name): {"auth": auth}, "other.example": {"auth": "YTpi"}}
    secret = tmp_path / ".dockerconfigjson"
    secret.write_text(json.dumps({"auths": entries}))

    assert imported(volume, secret_image, insecure_tls=False, cert_dir=trusted, auth_file=str(secret)) == DISK


@pytest.mark.parametrize(("user", "words"), [("", "without credentials"), ("eve", "as eve")])
def test_a_refusal_names_the_image_and_who_asked(
    secret_image: str, trusted: str, volume: Path, user: str, words: str
) -> None:
    with pytest.raises(AccessDenied, match=f"{secret_image.removeprefix('docker://')} {words}"):
        imported(volume, secret_image, insecure_tls=False, cert_dir=trusted, access_key=user)


def test_an_unknown_authority_is_not_trusted(secret_image: str, volume: Path) -> None:
    with pytest.raises(InvalidRequest, match="not trusted"):
        imported(volume, secret_image, insecure_tls=False)


def test_plain_http_wants_to_be_allowed(pushed: Publisher, volume: Path) -> None:
    url = pushed.push(tar([entry("disk/x", DISK)]))

    with pytest.raises(InvalidRequest, match="--insecure"):
        imported(volume, url, insecure_tls=False)

    assert imported(volume, url, insecure_tls=False, insecure_registries=(pushed.registry.host,)) == DISK


def test_a_token_is_bought_with_the_password_and_for_this_image_only(
    pushed: Publisher, store: Path, tmp_path: Path, volume: Path
) -> None:
    url = pushed.push(tar([entry("disk/x", DISK)]))

    with (
        token_server(tmp_path / "tokens") as tokens,
        registry(tmp_path / "r", store, auth=tokens.auth) as guarded,
    ):
        url = url.replace(pushed.registry.host, guarded.host)
        assert imported(volume, url, access_key=USER, secret_key=PASSWORD) == DISK

    assert [(asked["service"], asked["scope"]) for asked in tokens.asked] == [
        ("images", f"repository:{pushed.name}:pull")
    ]


# Where it is looked for.


def test_mirrors_are_asked_in_their_order_before_the_registry(pushed: Publisher, volume: Path) -> None:
    url = pushed.push(tar([entry("disk/x", DISK)])).replace(pushed.registry.host, "registry.example")
    host = pushed.registry.host
    mirrors = (f"other.example={host}", f"registry.example={host}/nothing-here", f"registry.example={host}")

    assert imported(volume, url, registry_mirrors=mirrors, insecure_registries=(host,)) == DISK


def test_an_image_that_is_nowhere_is_called_by_its_whole_name(opened: Registry, volume: Path) -> None:
    with pytest.raises(SourceMissing, match=rf"no image {opened.host}/example/disk:latest"):
        imported(volume, f"docker://{opened.host}/example/disk")


def test_a_registry_that_is_not_there_may_come_back(volume: Path) -> None:
    with pytest.raises(SourceUnavailable, match=r"127.0.0.1:1/example/disk:v1"):
        imported(volume, "docker://127.0.0.1:1/example/disk:v1")
