"""Disks from oVirt: a real imageio daemon and qemu-nbd, an engine that speaks its API's documented JSON."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from diskyard.api.job import ImportJob
from diskyard.disk.extent import Extent
from diskyard.errors import AccessDenied, InvalidRequest, SourceMissing, SourceUnavailable
from importer import imageio
from importer.imageio import ImageioImage
from importer.ovirt import ENDING_TRIES, READY_WITHIN, Ticket
from importer.ovirt import Engine as Client
from importer.request import Access
from importer.retry import DELAYS
from tests.builders import eventually
from tests.disk.image_suite import ImageSuite, read
from tests.disk.images import qemu_img, raw, same
from tests.imageserver import Behaviour, Exchange, cut, fault_server, status
from tests.importer.conftest import Pod
from tests.importer.engine import ACTIVE, DISK, NOWHERE, PASSWORD, TRANSFER, USER, Engine, engine
from tests.importer.ovirt_host import Host, host

ENDED = f"POST /ovirt-engine/api/imagetransfers/{TRANSFER}"


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return raw(tmp_path_factory.mktemp("imageio") / "disk.raw")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def serving(disk: Path, authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with host(disk, tmp_path_factory.mktemp("host"), authority) as running:
        yield running


@pytest.fixture
def ovirt(serving: Host, authority: trustme.CA) -> Iterator[Engine]:
    with engine(serving, authority) as running:
        yield running


@pytest.fixture
def access(authority: trustme.CA, tmp_path: Path) -> Access:
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    authority.cert_pem.write_to_path(certificates / "ca.pem")
    return Access(user=USER, password=PASSWORD, ca_dir=str(certificates))


@pytest.fixture
def job(ovirt: Engine, access: Access) -> ImportJob:
    return ImportJob(
        "imageio", ovirt.url, disk_id=DISK, access_key=USER, secret_key=PASSWORD, cert_dir=access.ca_dir
    )


@pytest.fixture
def client(ovirt: Engine, access: Access) -> Iterator[Client]:
    with closing(Client(ovirt.url, access, lambda _: None)) as client:
        yield client


class TestDiskOfAHost(ImageSuite):
    @pytest.fixture
    def image(self, job: ImportJob, access: Access) -> Iterator[ImageioImage]:
        with imageio.opened(job, access) as image:
            yield image


def test_a_disk_in_ovirt_becomes_a_disk(job: ImportJob, disk: Path, pod: Pod, ovirt: Engine) -> None:
    ended = pod.run(job)

    assert (ended.code, ended.message.message) == (0, "Import Complete"), ended.log
    assert same(disk, pod.disk)
    assert ovirt.calls[-2:] == [f"{ENDED}/finalize", "POST /ovirt-engine/services/sso-logout"]
    assert not ovirt.host.tickets


def test_the_secret_reaches_the_engine_alone(ovirt: Engine, access: Access, job: ImportJob) -> None:
    with imageio.opened(job, access) as image:
        read(image, 0, 1)

    log = (ovirt.host.folder / "log").read_text()
    assert PASSWORD not in log
    assert "token-" not in log


def test_a_failure_on_the_way_cancels_the_transfer(job: ImportJob, access: Access, ovirt: Engine) -> None:
    with pytest.raises(KeyError), imageio.opened(job, access):
        raise KeyError("the target is full")

    assert f"{ENDED}/cancel" in ovirt.calls
    assert not ovirt.host.tickets


def test_a_transfer_that_cannot_be_ended_at_once_is_ended_later(client: Client, ovirt: Engine) -> None:
    ovirt.stubborn = 3

    with client.transfer(DISK):
        pass

    assert ovirt.calls.count(f"{ENDED}/finalize") == 4
    assert not ovirt.host.tickets


def test_a_transfer_that_cannot_be_ended_is_left_to_the_engine(client: Client, ovirt: Engine) -> None:
    ovirt.stubborn = ENDING_TRIES

    with client.transfer(DISK):
        pass

    assert ovirt.calls.count(f"{ENDED}/finalize") == ENDING_TRIES


def test_a_transfer_is_renewed_while_it_lasts(ovirt: Engine, access: Access) -> None:
    with closing(Client(ovirt.url, access, renewed_every=0.02)) as client, client.transfer(DISK):
        eventually(lambda: ovirt.calls.count(f"{ENDED}/extend") > 2)


def test_a_login_that_has_expired_is_made_anew(ovirt: Engine, access: Access) -> None:
    ovirt.expired = True

    with closing(Client(ovirt.url, access, lambda _: None)) as client, client.transfer(DISK) as ticket:
        assert ticket.size == ovirt.host.size


def test_the_engine_s_proxy_is_the_way_where_the_host_cannot_be_reached(
    client: Client, ovirt: Engine, access: Access, disk: Path
) -> None:
    ovirt.direct = False

    with client.transfer(DISK) as ticket, closing(ImageioImage(ticket, access)) as image:
        assert ticket.urls[0] == NOWHERE
        assert read(image, 0, 512) == disk.read_bytes()[:512]


def test_waits_until_a_transfer_has_begun(ovirt: Engine, access: Access) -> None:
    ovirt.phases = ["initializing", "initializing", "transferring"]
    waits: list[float] = []

    with closing(Client(ovirt.url, access, waits.append)) as client, client.transfer(DISK) as ticket:
        assert len(ticket.urls) == 2

    assert waits == [1.0, 1.0]


def test_waits_for_a_transfer_no_longer_than_it_says(client: Client, ovirt: Engine) -> None:
    ovirt.phases = ["initializing"]

    with pytest.raises(SourceUnavailable, match=f"within {READY_WITHIN} seconds"), client.transfer(DISK):
        pass

    assert f"{ENDED}/cancel" in ovirt.calls


@pytest.mark.parametrize("phase", ["paused_system", "cancelled_system", "finished_failure", "unknown"])
def test_a_transfer_that_does_not_begin_is_told(client: Client, ovirt: Engine, phase: str) -> None:
    ovirt.phases = ["initializing", phase]

    with pytest.raises(SourceUnavailable, match=f"found it {phase}"), client.transfer(DISK):
        pass


def test_a_locked_disk_is_tried_again(client: Client, ovirt: Engine) -> None:
    ovirt.status = "locked"

    with pytest.raises(SourceUnavailable, match="found it locked"), client.transfer(DISK):
        pass


def test_a_disk_that_is_not_there_is_missing(client: Client) -> None:
    with pytest.raises(SourceMissing, match="no disk other: correct diskId"), client.transfer("other"):
        pass


def test_a_wrong_password_is_denied(ovirt: Engine, access: Access) -> None:
    with pytest.raises(AccessDenied, match=r"password is incorrect.*secretRef"):
        Client(ovirt.url, replace(access, password="guess"))


def test_an_engine_that_nobody_vouches_for_gets_no_password(ovirt: Engine) -> None:
    with pytest.raises(InvalidRequest, match="certConfigMap"):
        Client(ovirt.url, Access(user=USER, password=PASSWORD))

    assert not ovirt.calls


def test_insecure_skip_verify_is_honoured(ovirt: Engine, job: ImportJob) -> None:
    access = Access(user=USER, password=PASSWORD, insecure=True)

    with imageio.opened(job, access) as image:
        assert image.size == ovirt.host.size


def test_a_disk_without_extents_is_read_as_a_whole(
    job: ImportJob, access: Access, ovirt: Engine, disk: Path
) -> None:
    """imageio's file backend, which hosts use for ISO images."""
    ovirt.storage = f"file://{disk}"

    with imageio.opened(job, access) as image:
        assert list(image.extents()) == [Extent(0, disk.stat().st_size, zero=False)]
        assert read(image, 1000, 9 << 20) == disk.read_bytes()[1000 : (9 << 20) + 1000]


@pytest.fixture
def chain(disk: Path, ovirt: Engine, tmp_path: Path) -> Path:
    """Two snapshots and what has changed since: the disk as it is now; the engine has each layer."""
    below = tmp_path / "one"
    shutil.copy(disk, below)
    ovirt.layers, ovirt.disks = {"one": f"file://{below}"}, {"one": f"file://{below}"}
    for name, commands in CHANGES.items():
        image, kind = tmp_path / name, "raw" if below.name == "one" else "qcow2"
        qemu_img("create", "-q", "-f", "qcow2", "-F", kind, "-b", str(below), str(image))
        said = [part for command in commands for part in ("-c", command)]
        subprocess.run(["qemu-io", "-f", "qcow2", *said, str(image)], check=True, capture_output=True)
        ovirt.layers[name] = f"file://{image}"
        below = image
    now = tmp_path / "now.raw"
    qemu_img("convert", "-f", "qcow2", "-O", "raw", str(below), str(now))
    return now


MIB = 1 << 20
CHANGES = {
    "two": (
        f"write -P 7 {2 * MIB} {3 * MIB}",
        f"write -P 9 {9 * MIB + 512} 512",
        f"write -z {20 * MIB} {2 * MIB}",
    ),
    ACTIVE: (f"write -P 8 {3 * MIB} {MIB}", f"write -z {13 * MIB} 64k", f"write -P 1 {24 * MIB - 512} 512"),
}


def test_stages_become_the_disk_as_it_is_now(job: ImportJob, chain: Path, pod: Pod, ovirt: Engine) -> None:
    """The first reads everything, each other one layer; the last may be the disk's active image."""
    whole = pod.run(replace(job, checkpoint="one"))
    second = pod.run(replace(job, checkpoint="two", previous="one"))
    last = pod.run(replace(job, checkpoint=ACTIVE, previous="two", final=True))

    assert (whole.code, second.code, last.code) == (0, 0, 0), last.log
    assert same(chain, pod.disk)
    assert second.message.bytes_fetched < 4 * MIB
    assert not ovirt.ticket


def test_a_layer_that_does_not_lie_on_the_stage_before_is_refused(
    job: ImportJob, chain: Path, pod: Pod
) -> None:
    pod.run(replace(job, checkpoint="one"))
    before = pod.disk.read_bytes()

    ended = pod.run(replace(job, checkpoint=ACTIVE, previous="one"))

    assert (ended.code, ended.message.fatal) == (3, True)
    assert "snapshot backing file 'two' does not match expected checkpoint 'one'" in ended.message.message
    assert pod.disk.read_bytes() == before


def test_a_snapshot_that_is_not_there_is_missing(job: ImportJob, access: Access, ovirt: Engine) -> None:
    with (
        pytest.raises(SourceMissing, match=r"no snapshot three.*spec\.checkpoints"),
        imageio.opened(replace(job, checkpoint="three"), access),
    ):
        pass


def test_a_ticket_that_has_ended_is_passing(client: Client, access: Access, ovirt: Engine) -> None:
    with client.transfer(DISK) as ticket, closing(ImageioImage(ticket, access, lambda _: None)) as image:
        ovirt.host.close(ovirt.ticket.rpartition("/")[2])
        ovirt.ticket = ""

        with pytest.raises(SourceUnavailable, match="transfer has ended"):
            read(image, 0, 512)


BODY = bytes(range(256)) * 4096


@contextmanager
def told(*faults: Behaviour, options: bytes = b"") -> Iterator[tuple[ImageioImage, list[float]]]:
    """An image of BODY behind a server that does these things first, and the waits between attempts."""
    waits: list[float] = []
    with fault_server(BODY, *faults) as server:
        server.options = options
        ticket = Ticket((server.url(),), len(BODY), public=False)
        with closing(ImageioImage(ticket, Access(), waits.append)) as image:
            yield image, waits


def listing(*extents: tuple[int, int, bool]) -> Behaviour:
    said = [
        {"start": start, "length": length, "zero": zero, "hole": False} for start, length, zero in extents
    ]
    return status(200, json.dumps(said).encode())


EXTENTS = b'{"features": ["extents"], "max_readers": 8}'


@pytest.mark.parametrize("options", [b"", b"{}", b"none of your business", b"[]", b'{"features": null}'])
def test_a_server_too_old_to_tell_extents_has_one_of_data(options: bytes) -> None:
    with told(options=options) as (image, _):
        assert list(image.extents()) == [Extent(0, len(BODY), zero=False)]
        assert read(image, 77, 1000) == BODY[77:1077]


def test_a_dropped_connection_is_opened_again_where_it_broke() -> None:
    with told(cut(1000), status(503), cut(5000)) as (image, waits):
        assert read(image, 0, len(BODY)) == BODY
        assert waits == list(DELAYS[:3])


def test_a_server_that_stays_away_is_given_up() -> None:
    with told(*[status(503)] * (len(DELAYS) + 1)) as (image, waits):
        with pytest.raises(SourceUnavailable, match="503"):
            read(image, 0, 512)
        assert waits == list(DELAYS)


@pytest.mark.parametrize(
    "wrong",
    [Exchange.whole, status(206, BODY[:512], Content_Range="bytes 512-1023/*"), status(206, BODY[:512])],
    ids=["all of them", "others", "some, unnamed"],
)
def test_other_bytes_than_asked_for_are_not_taken(wrong: Behaviour) -> None:
    with (
        told(*[wrong] * (len(DELAYS) + 1)) as (image, _),
        pytest.raises(SourceUnavailable, match="expected bytes 0-511"),
    ):
        read(image, 0, 512)


def test_neighbours_of_one_sort_are_one_extent() -> None:
    pages = [(at * 4096, 4096, at % 2 == 0) for at in range(20_000)]
    holes = [(20_000 * 4096 + at * 4096, 4096, True) for at in range(20_000)]

    with told(listing(*pages, *holes), options=EXTENTS) as (image, _):
        assert len(list(image.extents())) == 20_001
        assert image.size == 40_000 * 4096


LIES = {
    "no list": status(200, b"<html>"),
    "half a list": status(200, b'[{"start": 0, "length": 512, "zero": false}, {"star'),
    "a list without an end": status(200, b'[{"start": 0, "length": 512, "zero": false}, '),
    "something else": status(200, b'[{"start": 0, "zero": false}]'),
    "words": status(200, b'[{"start": "here", "length": 512, "zero": false}]'),
    "a very long word": status(200, b'[{"start": ' + b"0" * 100_000 + b"}]"),
    "a gap": listing((0, 512, False), (1024, 512, False)),
    "an overlap": listing((0, 1024, False), (512, 1024, True)),
    "a beginning elsewhere": listing((512, 512, False)),
    "less than nothing": listing((0, -512, False)),
    "more than there can be": listing((0, 1 << 70, True)),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_extents_that_cannot_be_are_found_out(lie: Behaviour) -> None:
    with pytest.raises(SourceUnavailable, match="expected"), told(lie, options=EXTENTS):
        pass
