"""Which addresses are connected to: the rules as a table, and chains of redirects between real addresses."""

import ipaddress
import json
import subprocess
import sys

import pytest

from diskyard.errors import InvalidRequest, SourceUnavailable
from importer.address import Policy, check, networks, permitted, public
from importer.request import Access, Client, get
from tests.imageserver import fault_server, status


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("8.8.8.8", ""), ("2606:4700::1111", ""), ("10.1.2.3", ""), ("192.168.1.1", ""), ("127.0.0.1", ""), ("::1", ""),
        ("fd00::1", ""), ("100.64.0.1", ""),
        ("169.254.169.254", "metadata"), ("fd00:ec2::254", "metadata"), ("100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"), ("169.254.1.1", "link-local"), ("fe80::1", "link-local"),
        ("224.0.0.1", "multicast"), ("ff02::1", "multicast"), ("0.0.0.0", "unspecified"), ("::", "unspecified"),
        ("0.1.2.3", "unspecified"), ("255.255.255.255", "broadcast"), ("240.0.0.1", "reserved"),
        ("::ffff:169.254.169.254", "metadata"), ("64:ff9b::a9fe:a9fe", "metadata"), ("2002:a9fe:a9fe::", "metadata"),
        ("::169.254.169.254", "metadata"), ("::ffff:0.0.0.0", "unspecified"), ("::ffff:10.0.0.1", ""),
    ],
)  # fmt: skip
def test_an_address_that_a_user_names(address: str, words: str) -> None:
    said = permitted(ipaddress.ip_address(address))

    assert words in said
    assert bool(words) == bool(said)


@pytest.mark.parametrize(
    ("address", "follows"),
    [
        ("8.8.8.8", True), ("2606:4700::1111", True), ("::ffff:8.8.8.8", True),
        ("10.1.2.3", False), ("127.0.0.1", False), ("::1", False), ("fd00::1", False), ("100.64.0.1", False),
        ("::ffff:127.0.0.1", False), ("64:ff9b::7f00:1", False), ("2002:7f00:1::", False), ("fec0::1", False),
    ],
)  # fmt: skip
def test_an_address_that_a_public_server_has_sent_us_to(address: str, follows: bool) -> None:
    assert public(ipaddress.ip_address(address)) == follows
    assert (permitted(ipaddress.ip_address(address), Policy(led=True)) == "") == follows


def test_the_operator_allows_what_usually_is_refused() -> None:
    allowed = Policy(networks("169.254.169.254, fd00::/8 10.0.0.0/8"), led=True)

    assert permitted(ipaddress.ip_address("169.254.169.254"), allowed) == ""
    assert permitted(ipaddress.ip_address("::ffff:169.254.169.254"), allowed) == ""
    assert permitted(ipaddress.ip_address("fd00:ec2::254"), allowed) == ""
    assert permitted(ipaddress.ip_address("10.2.3.4"), allowed) == ""
    assert permitted(ipaddress.ip_address("169.254.169.253"), allowed) == "link-local"


def test_networks_that_are_none_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="allowed addresses must look like"):
        networks("10.0.0.0/99")


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/latest", "http://[fe80::1]/", "http://0/", "http://2852039166/", "http://0xA9FEA9FE:80/"],
)  # fmt: skip
def test_an_endpoint_of_another_library_is_checked_however_it_is_written(url: str) -> None:
    with pytest.raises(InvalidRequest, match=r"diskyard\.io/allow-addresses="):
        check(url)


def test_an_endpoint_that_may_be_asked_passes() -> None:
    check("https://localhost:9000")
    with pytest.raises(SourceUnavailable, match="no such host"):
        check("https://no-such-host.invalid")


CASES: list[tuple[list[str], str, str]] = [
    (["8.8.8.8"], "", "reached"),
    (["10.0.0.5"], "", "reached"),
    (["127.0.0.1"], "", "reached"),
    (["8.8.8.8", "9.9.9.9"], "", "reached"),
    (["10.0.0.5", "127.0.0.1", "8.8.8.8"], "", "reached"),
    (["8.8.8.8", "10.0.0.5"], "", "the address 10.0.0.5 is not public, and a public server has sent us there"),
    (["8.8.8.8", "127.0.0.1"], "", "the address 127.0.0.1 is not public"),
    (["8.8.8.8", "localhost"], "", "localhost has the address 127.0.0.1, which is not public"),
    (["10.0.0.5", "8.8.8.8", "10.0.0.5"], "", "the address 10.0.0.5 is not public"),
    (["8.8.8.8", "[::ffff:127.0.0.1]"], "", "is not public"),
    (["8.8.8.8", "10.0.0.5"], "10.0.0.0/8", "reached"),
    (["169.254.169.254"], "", "a metadata service's"),
    (["[::ffff:169.254.169.254]"], "", "a metadata service's"),
    (["10.0.0.5", "169.254.169.254"], "", "a metadata service's"),
    (["8.8.8.8", "169.254.7.7"], "", "link-local"),
    (["0.0.0.0"], "", "unspecified"),
    (["169.254.169.254"], "169.254.169.254", "reached"),
    (["registry", "10.0.0.5", "127.0.0.1"], "", "reached"),
    (["registry", "8.8.8.8", "9.9.9.9"], "", "reached"),
    (["registry", "8.8.8.8", "10.0.0.5"], "", "the address 10.0.0.5 is not public, and a public server has sent us"),
    (["registry", "8.8.8.8", "10.0.0.5"], "10.0.0.5", "reached"),
    (["registry", "10.0.0.5", "169.254.169.254"], "", "a metadata service's"),
]  # fmt: skip


def test_every_hop_of_a_chain_of_redirects_is_checked_before_it_is_connected_to() -> None:
    """CVE-2026-34881: a redirect led a server's import to addresses that only the server reaches."""
    asked = json.dumps([(hosts, allowed) for hosts, allowed, _ in CASES])
    command = [
        "unshare",
        "--user",
        "--map-root-user",
        "--net",
        sys.executable,
        "-m",
        "tests.importer.hops",
        asked,
    ]

    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)

    outcomes = json.loads(done.stdout)
    wrong = [
        (hosts, allowed, outcome)
        for (hosts, allowed, words), outcome in zip(CASES, outcomes, strict=True)
        if words not in outcome
    ]
    assert not wrong


def test_a_connection_that_waits_is_not_taken_where_a_public_server_has_sent_us() -> None:
    with fault_server(b"body") as server:
        client = Client()
        answer = client.get(server.url(), Access(), {})
        answer.close()

        with pytest.raises(InvalidRequest, match="a public server has sent us there"):
            client.get(server.url(), Access(led=True), {})

        client.close()
        assert len(server.seen) == 1


def test_through_a_proxy_its_own_address_counts_and_a_host_that_is_written_as_one() -> None:
    moved = status(302, Location="http://169.254.169.254/latest/meta-data")
    with fault_server(b"body") as proxy:
        access = Access(proxies={"http": f"127.0.0.1:{proxy.port}"})

        get("http://images.invalid/disk.img", access, {}).close()
        proxy.faults = [moved]
        with pytest.raises(InvalidRequest, match="metadata"):
            get("http://images.invalid/disk.img", access, {})

        assert [hit["path"] for hit in proxy.seen] == ["http://images.invalid/disk.img"] * 2


def test_a_host_behind_a_proxy_counts_as_public() -> None:
    with fault_server(b"body") as server, fault_server(b"body") as proxy:
        access = Access(proxies={"http": f"http://127.0.0.1:{proxy.port}"}, no_proxy="127.0.0.0/8")
        proxy.faults = [status(302, Location=server.url())]

        with pytest.raises(InvalidRequest, match="a public server has sent us there"):
            get("http://images.invalid/disk.img", access, {})

        assert server.seen == []
