"""One image, twenty users: what the node's image store saves, against twenty imports that each fetch for themselves.

python benchmarks/store.py [SIZE]     SIZE of the image in MiB, 100 if not said; 2 minutes

A real docker-registry behind a wire that counts its bytes. Each user is an importer's process as a pod runs it, all of
them at once: the fetching containers of guests that take a lease, DataVolumes that get a copy, and the same
DataVolumes without a store. The goal: guests and DataVolumes together fetch at most 1.01 images.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from diskyard.api.job import ImportJob
from diskyard.api.lending import Lending
from diskyard.api.names import cdi
from tests.disk.tars import entry, tar
from tests.importer.publisher import Publisher
from tests.importer.registries import Wire, registry, wire

USERS: Final = 20
GOAL: Final = 1.01
"""Images that may be fetched in all."""
MIB: Final = 1 << 20

Use = Callable[[int], Lending]


def main() -> int:
    """Measure; 1 where the goal is missed."""
    size = int(sys.argv[1]) * MIB if len(sys.argv) > 1 else 100 * MIB
    with tempfile.TemporaryDirectory(prefix="diskyard-store-") as name:
        folder = Path(name)
        with registry(folder / "registry", folder / "blobs") as found, wire(found.host) as line:
            publisher = Publisher(found, folder / "layout", "bench")
            url = publisher.push(tar([entry("disk/vm.img", os.urandom(size))]), pack="")
            job = ImportJob("registry", url.replace(found.host, line.host), insecure_tls=True)
            store = str(folder / "images")
            print(f"{USERS} users at once of an image of {size // MIB} MiB")
            guests = _measured(
                "guests", job, folder, line, lambda n: Lending(store, "bench", "Always", f"guest-{n}")
            )
            copies = _measured("DataVolumes", job, folder, line, lambda _: Lending(store, "bench"))
            alone = _measured("without a store", job, folder, line, lambda _: Lending())
    fetched = (guests + copies) / size
    met = fetched <= GOAL
    print(
        f"with the store {fetched:.3f} images, goal {GOAL}: {'met' if met else 'MISSED'}; without {alone / size:.1f}"
    )
    return 0 if met else 1


def _measured(what: str, job: ImportJob, folder: Path, line: Wire, use: Use) -> int:
    """Bytes that so many users have fetched; printed with the time that the last of them took."""
    line.passed, begun = 0, time.monotonic()
    users = [_started(job, folder / "volumes" / f"{what}-{number}", use(number)) for number in range(USERS)]
    codes = [each.wait() for each in users]
    seconds = time.monotonic() - begun
    assert not any(codes), f"expected every importer to end with 0, found {codes}"
    print(f"  {what:<18}{line.passed / MIB:>10.1f} MiB fetched{seconds:>8.1f} s")
    for number in range(USERS):
        (folder / "volumes" / f"{what}-{number}" / cdi.DISK_FILE).unlink(missing_ok=True)
    return line.passed


def _started(job: ImportJob, volume: Path, lending: Lending) -> "subprocess.Popen[bytes]":
    volume.mkdir(parents=True)
    env = {
        **job.to_env(),
        **lending.to_env(),
        "PATH": os.environ["PATH"],
        cdi.ENV_VOLUME_DIR: str(volume),
        cdi.ENV_TERMINATION_LOG: str(volume / "termination"),
    }
    return subprocess.Popen([sys.executable, "-m", "importer"], env=env, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
