"""Which addresses a yard may be reached at, and what is written for other machines."""

from pathlib import Path

import pytest

from diskyard.api import meta
from diskyard.api.meta import SERVICE, Key
from diskyard.errors import InvalidRequest
from standalone.directory import Directory
from standalone.reach import Published, Reach, publish
from standalone.store.objects import Objects


@pytest.mark.parametrize(
    ("said", "address"),
    [
        (None, ""), ("192.0.2.7", "192.0.2.7"), ("2001:DB8::0:7", "2001:db8::7"), ("[2001:db8::7]", "2001:db8::7"),
    ],
)  # fmt: skip
def test_an_address_is_taken_as_one_writes_it(said: str | None, address: str) -> None:
    reach = Reach.parsed(7443, said)

    assert reach.address == address
    assert reach.names == ("localhost", "127.0.0.1", *((address,) if address else ()))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("0.0.0.0", "expected one address, found all of them"),
        ("::", "expected one address, found all of them"),
        ("127.0.0.5", "may come in anyway"),
        ("fe80::1%lo", "without a zone"),
        ("localhost", "that name stands for .*127.0.0.1"),
        ("no such name", "no such address or name"),
    ],
)
def test_an_address_that_no_other_machine_could_use_is_refused(said: str, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        Reach.parsed(7443, said)


def test_a_kubeconfig_for_others_has_no_colon_in_its_name() -> None:
    assert Directory(Path("/yard")).kubeconfig_at("2001:db8::7") == Path("/yard/kubeconfig-2001-db8--7")


def test_a_service_of_the_yard_follows_its_port_and_addresses(tmp_path: Path) -> None:
    key = Key("kubernetes", "default")
    with Objects.open(tmp_path / "store.db") as store:
        publish(store, Published(key, 1111), Reach(0, "192.0.2.7"))
        publish(store, Published(key, 2222, labels={"a": "b"}), Reach(0))

        service = store.get(SERVICE, key)

    assert meta.spec(service)["clusterIP"] == "127.0.0.1"
    assert [port["port"] for port in meta.spec(service)["ports"]] == [2222]
    assert "externalIPs" not in meta.spec(service)
    assert meta.labels(service) == {"a": "b"}
