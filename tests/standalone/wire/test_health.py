"""What a server says of its health: all that there is to look at, and not the reason to whoever comes along."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from diskyard.api.meta import CONFIG_MAP
from diskyard.errors import ServerError
from tests import builders
from tests.served import served
from tests.standalone.wire.conftest import Wire


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Wire]:
    """A server whose store has no room for anything more."""
    with served(tmp_path) as yard:
        writing = yard.store._log._writing
        pages = writing.execute("PRAGMA page_count").fetchone()[0]
        writing.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(ServerError, match="is the disk full"):
            yard.store.create(
                CONFIG_MAP, builders.some(CONFIG_MAP, "large", "default", data={"a": "x" * 200_000})
            )
        pool = urllib3.PoolManager(ca_certs=str(yard.authority))
        yield Wire(yard, pool)
        pool.clear()


def test_a_store_that_cannot_write_is_not_ready_and_recovers(full: Wire) -> None:
    answer = full.send("GET", "/readyz", Authorization="")

    assert (answer.status, answer.raw) == (
        500,
        b"[+]ping ok\n[-]store failed: reason withheld\nreadyz check failed\n",
    )
    assert full.get("/readyz?exclude=store").raw == b"ok"
    assert (
        full.get("/livez?exclude=store&verbose").raw
        == b"[+]ping ok\n[+]store excluded: ok\nlivez check passed\n"
    )
    assert b"full" in full.get("/readyz/store").raw
    assert full.send("GET", "/readyz/store", Authorization="").status == 403

    full.yard.store._log._writing.execute("PRAGMA max_page_count = 1000000")
    full.yard.store.create(CONFIG_MAP, builders.some(CONFIG_MAP, "small", "default"))
    assert full.get("/readyz").raw == b"ok"


def test_a_check_that_cannot_be_left_out_is_named(full: Wire) -> None:
    answer = full.get("/healthz?exclude=store&exclude=etcd&exclude=b&verbose")

    assert answer.raw.decode().splitlines() == [
        "[+]ping ok",
        "[+]store excluded: ok",
        'warn: some health checks cannot be excluded: no matches for "b","etcd"',
        "healthz check passed",
    ]
