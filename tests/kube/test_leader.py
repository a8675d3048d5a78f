"""Leadership by Lease: one at a time, handed over at once when given back, taken over when its holder falls silent."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from diskyard.api import meta
from diskyard.api.meta import LEASE, Key
from diskyard.kube.client import Client
from diskyard.kube.leader import Leader, Terms
from standalone.store.objects import Objects
from tests.builders import eventually
from tests.kube.outage import Link

LEASE_KEY = Key("lease", "default")
QUICK = Terms(duration=2.0, deadline=1.0, retry=0.05)
PATIENT = Terms(duration=600.0, deadline=500.0, retry=0.05)


@contextmanager
def candidate(client: Client, name: str, terms: Terms = PATIENT) -> Iterator[Leader]:
    leader = Leader(client, LEASE_KEY, name, terms)
    stop = threading.Event()
    thread = threading.Thread(target=leader.acquire, args=(stop,))
    thread.start()
    try:
        yield leader
    finally:
        stop.set()
        thread.join()
        leader.close()


def holder(store: Objects) -> str:
    return str(meta.spec(store.get(LEASE, LEASE_KEY)).get("holderIdentity"))


def test_the_first_leads_and_the_second_waits(store: Objects) -> None:
    with candidate(store, "one") as one:
        eventually(lambda: one.leading, 60)
        with candidate(store, "two") as two:
            assert holder(store) == "one"
            assert not two.leading


def test_what_is_given_back_is_taken_at_once(store: Objects) -> None:
    with candidate(store, "one") as one:
        eventually(lambda: one.leading, 60)
        with candidate(store, "two") as two:
            one.close()
            eventually(lambda: two.leading, 60)
            assert holder(store) == "two"
            assert not one.leading


def test_a_silent_holder_is_followed_and_has_stopped_before(store: Objects) -> None:
    link = Link(store)
    with candidate(link, "one", QUICK) as one:
        eventually(lambda: one.leading, 60)
        link.cut()
        with candidate(store, "two", QUICK) as two:
            eventually(lambda: two.leading, 60)
            assert one.lost.wait(60)
        link.mend()


def test_a_lease_that_somebody_took_away_is_lost(store: Objects) -> None:
    with candidate(store, "one") as one:
        eventually(lambda: one.leading, 60)
        store.patch(LEASE, LEASE_KEY, {"spec": {"holderIdentity": "two"}})
        assert one.lost.wait(60)


def test_a_lease_that_was_deleted_is_made_anew(store: Objects) -> None:
    with candidate(store, "one") as one:
        eventually(lambda: one.leading, 60)
        store.delete(LEASE, LEASE_KEY)
        eventually(lambda: LEASE_KEY in {meta.key(each) for each in store.list(LEASE).items}, 60)
        assert one.leading


def test_who_is_told_to_stop_while_waiting_ends(store: Objects) -> None:
    with candidate(store, "one") as one:
        eventually(lambda: one.leading, 60)
        stop = threading.Event()
        stop.set()
        assert Leader(store, LEASE_KEY, "two").acquire(stop) is False


def test_counts_how_often_it_changed_hands(store: Objects) -> None:
    for name in ("one", "two"):
        with candidate(store, name) as leader:
            eventually(lambda leader=leader: leader.leading, 60)
    assert meta.spec(store.get(LEASE, LEASE_KEY))["leaseTransitions"] == 1
