"""A pipeline's images, from a bucket to guests: the walk-through of docs/golden.md, with a kernel and busybox."""

import base64
import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from demo import image
from tests.builders import eventually
from tests.flows.place import Place
from tests.flows.test_golden import (
    NEWEST,
    SUMS,
    a_cron,
    condition,
    cron,
    kept_current,
    look_again,
    rolled_back,
    stands_for,
)
from tests.flows.yard import data_volume, machine
from tests.importer.stores import SECRET, USER, S3Store, swift_store

pytestmark = [
    pytest.mark.guest,
    pytest.mark.timeout(600),  # six boots under software emulation
    pytest.mark.skipif(not shutil.which("libvirtd"), reason="needs libvirt"),
]
SAYS = "Release "
INIT = "#!/bin/sh\nmount -t devtmpfs dev /dev\n{}\n"
BOOTS = 'echo "Release {}"\nwhile true; do sleep 3600; done'
DIES = 'echo "Kernel panic - not syncing: no root file system"\npoweroff -f'


@dataclass
class Pipeline:
    """Builds images and puts each beside the sums of all."""

    store: S3Store
    folder: Path
    sums: dict[str, str] = field(default_factory=dict)

    def release(self, number: int, init: str) -> None:
        """The image first, then the sums that name it."""
        script = self.folder / f"init-{number}"
        script.write_text(INIT.format(init.format(number)))
        built = image.build(image.CACHE, files={"init": script}).read_bytes()
        name = f"os-{number}.qcow2"
        self.store.put(built, f"os/{name}")
        self.sums[name] = hashlib.sha256(built).hexdigest()
        lines = "".join(f"{digest}  {each}\n" for each, digest in self.sums.items())
        self.store.put(lines.encode(), "os/SHA256SUMS")


@pytest.fixture
def pipeline(place: Place, tmp_path: Path) -> Iterator[Pipeline]:
    """A bucket that takes who knows its secret, and a Secret with that."""
    key = {"accessKeyId": USER, "secretKey": SECRET}
    encoded = {name: base64.b64encode(text.encode()).decode() for name, text in key.items()}
    core = place.core()
    core.create_namespaced_secret("default", {"metadata": {"name": "bucket"}, "data": encoded})
    with swift_store(tmp_path) as store:
        yield Pipeline(store, tmp_path)
    core.delete_namespaced_secret("bucket", "default")


def test_guests_start_from_the_newest_image_that_boots_and_go_back(place: Place, pipeline: Pipeline) -> None:
    said = {SUMS: pipeline.store.url("os/SHA256SUMS"), NEWEST: "os-*.qcow2"}
    wanted = a_cron("release", {"s3": {"url": pipeline.store.url("os/"), "secretRef": "bucket"}}, said)
    wanted["spec"]["template"]["spec"]["storage"]["resources"]["requests"]["storage"] = "1Gi"
    wanted["metadata"]["annotations"] = {"diskyard.io/boot-says": SAYS, "diskyard.io/boot-within": "4m"}
    pipeline.release(1, BOOTS)
    with kept_current(place, wanted) as name:
        first = served(place, name, "")
        guest(place, "one")
        pipeline.release(2, BOOTS)
        look_again(place, name)
        second = served(place, name, first)
        speaks(place, "one", "Release 1")
        guest(place, "two")
        pipeline.release(3, DIES)
        look_again(place, name)
        failed = refused(place, name)
        assert second in failed
        assert "Kernel panic - not syncing: no root file system" in failed
        place.told(name, f"BootTestFailed: release-{pipeline.sums['os-3.qcow2'][:12]}")
        assert stands_for(place, name) == second
        speaks(place, "two", "Release 2")
        assert f"stands for {first}" in rolled_back(place, name)
        guest(place, "back")
        speaks(place, "back", "Release 1")
        for each in ("one", "two", "back"):
            away(place, each)
        eventually(lambda: not trials(place), 120)


def served(place: Place, name: str, before: str) -> str:
    """The next claim that the DataSource stands for."""

    def seen() -> str:
        found = stands_for(place, name)
        assert found not in ("", before), cron(place, name).get("status")
        return found

    return eventually(seen, 240)


def refused(place: Place, name: str) -> str:
    """Why the newest image is not served."""

    def seen() -> str:
        found = condition(cron(place, name), "BootTested")
        assert found.get("reason") == "Failed", found
        return str(found["message"])

    return eventually(seen, 240)


def guest(place: Place, name: str) -> None:
    """A machine with a disk of its own, from what the DataSource stands for now."""
    made = data_volume(name, {}, "1Gi", sourceRef={"kind": "DataSource", "name": "release"})
    del made["spec"]["source"]
    place.create(made)
    place.wait("datavolumes", name, "Succeeded", 120)
    obj = machine(name, name)
    obj["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 0
    place.create(obj)


def speaks(place: Place, name: str, words: str) -> None:
    """The guest has said that; nobody needs it any more."""
    place.console_says(name, words, 180)
    place.delete("virtualmachines", name)


def away(place: Place, name: str) -> None:
    place.gone("virtualmachines", name, 120)
    place.delete("datavolumes", name)


def trials(place: Place) -> list[Any]:
    """Guests of boot tests that are there."""
    found = client.CustomObjectsApi(place.api()).list_namespaced_custom_object(
        "kubevirt.io",
        "v1",
        "default",
        "virtualmachineinstances",
        label_selector="cdi.kubevirt.io/dataImportCron",
    )
    return list(found["items"])
