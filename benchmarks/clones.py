"""Clones of a disk of 10 GiB with 1 GiB of data, beside what copies it otherwise.

    .venv/bin/python benchmarks/clones.py [--gib 10] [--mib 1024] [--rounds 3] [--only place,network] [--in FOLDER]

`place`: on one file system, as a yard copies (by reflink where there is one), against `cp --sparse=always`: at most 1.1
of its time. `network`: between two processes by mutual TLS, against `qemu-img convert` over NBD, and against a model of
CDI's way (`tar -S` through snappy and mutual TLS, clonemodel.go): at least twice as quick as that. All make their disk
durable. Ratios are medians of the rounds' own; each disk is compared with the source once.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from diskyard.api.job import ImportJob
from diskyard.api.meta import Key
from diskyard.api.names import cdi, clone
from diskyard.web import issue
from diskyard.web.issue import Life
from standalone.storage.copies import Copies

MIB = 1 << 20
CACHE = Path.home() / ".cache" / "diskyard" / "bench"
MODEL = Path(__file__).with_name("clonemodel.go")
GOALS = {
    "cp --sparse=always": ("at most", 1.1),
    "qemu-img over NBD": ("", 0.0),
    "model of CDI": ("at least", 2.0),
}


def main(size: tuple[int, int], rounds: int, only: list[str], place: Path) -> None:
    """`size`: of the disk in GiB, and its data in MiB."""
    for each in (CACHE, place):
        each.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as made:
        folder = Path(made)
        source = folder / "source"
        disk(source, *size)
        keys(folder / "keys")
        program = built(CACHE)
        if "place" in only:
            compare(folder, rounds, {"ours": by_yard, "cp --sparse=always": by_cp}, larger_is_better=False)
        if "network" in only:
            ways: dict[str, Callable[[Path, Path], None]] = {"ours": by_cloner, "qemu-img over NBD": by_nbd}
            if program:
                ways["model of CDI"] = lambda source, target: by_model(program, source, target)
            else:
                print("no model of CDI's way: expected Go to build it by")
            compare(folder, rounds, ways, larger_is_better=True)


def compare(
    folder: Path, rounds: int, ways: dict[str, Callable[[Path, Path], None]], *, larger_is_better: bool
) -> None:
    """Every way once a round, and what the others take of ours (or ours of theirs)."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, way in ways.items():
            target = folder / "target"
            target.mkdir()
            os.sync()
            begun, worked = time.monotonic(), sum(os.times()[:4])
            way(folder / "source", target)
            taken[name].append(time.monotonic() - begun)
            worked = sum(os.times()[:4]) - worked
            found = next(target.rglob("disk.img"))
            if number == 0:
                disks = [folder / "source" / "disk.img", found]
                subprocess.run(["qemu-img", "compare", "-q", "-f", "raw", "-F", "raw", *disks], check=True)
            used = found.stat().st_blocks * 512 / MIB
            print(
                f"  {name}: {taken[name][-1]:.2f} s, {worked:.1f} of processors, {used:.0f} MiB on disk",
                flush=True,
            )
            shutil.rmtree(target)
    for name in list(ways)[1:]:
        pairs = zip(taken["ours"], taken[name], strict=True)
        ratio = median(other / ours if larger_is_better else ours / other for ours, other in pairs)
        word, goal = GOALS[name]
        says = (
            f"{name} takes {ratio:.2f} of our time"
            if larger_is_better
            else f"ours takes {ratio:.2f} of {name}"
        )
        print(f"{says}{f' (goal: {word} {goal})' if word else ''}")


def disk(folder: Path, gib: int, mib: int) -> None:
    """`mib` pieces of 1 MiB, of noise and of text in turn, spread over the disk."""
    folder.mkdir()
    step = gib * 1024 // mib
    with (folder / "disk.img").open("wb") as file:
        file.truncate(gib << 30)
        for number in range(mib):
            file.seek(number * step * MIB)
            piece = os.urandom(MIB) if number % 2 else (b"%015d\n" % number) * (MIB // 16)
            file.write(piece)


def by_yard(source: Path, target: Path) -> None:
    """As a yard's storage copies a claim."""
    copies, key = Copies(), Key("copy", "default")
    copies.begin(key, source, target / "copy")
    while (copy := copies.look(key)) is not None and not copy.over:
        time.sleep(0.005)
    assert copy is not None
    assert not copy.failure, copy.failure


def by_cp(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--sparse=always", source / "disk.img", target / "disk.img"], check=True)
    subprocess.run(["sync", "-f", target], check=True)


def by_nbd(source: Path, target: Path) -> None:
    door = target.parent / "nbd.sock"
    server = subprocess.Popen(["qemu-nbd", "-r", "-t", "-f", "raw", "-k", door, source / "disk.img"])
    try:
        while not door.exists():
            time.sleep(0.01)
        url = f"nbd+unix:///?socket={door}"
        subprocess.run(
            ["qemu-img", "convert", "-f", "raw", "-O", "raw", url, target / "disk.img"], check=True
        )
        subprocess.run(["sync", "-f", target], check=True)
    finally:
        server.terminate()
        server.wait()
        door.unlink(missing_ok=True)


def by_cloner(source: Path, target: Path) -> None:
    """A cloner and an importer, as their pods run them."""
    place = target.parent / "keys"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serving = {cdi.ENV_VOLUME_DIR: source, cdi.ENV_POD_IP: "127.0.0.1", cdi.ENV_METRICS_PORT: port}
    cloner = started("cloner", serving, place)
    try:
        while not _listens(port):
            time.sleep(0.02)
        job = ImportJob(clone.SOURCE, f"clone://127.0.0.1:{port}/uid")
        end = {cdi.ENV_VOLUME_DIR: target, cdi.ENV_TERMINATION_LOG: target.parent / "end"}
        _, words = started("importer", {**job.to_env(), **end}, place).communicate()
        assert "Complete" in (target.parent / "end").read_text(), words
    finally:
        cloner.terminate()
        cloner.communicate()


def started(program: str, env: Mapping[str, object], place: Path) -> "subprocess.Popen[str]":
    whole = {**os.environ, clone.ENV_KEYS: str(place), **{name: str(said) for name, said in env.items()}}
    command = [sys.executable, "-m", program]
    return subprocess.Popen(
        command, env=whole, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    )


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def by_model(program: Path, source: Path, target: Path) -> None:
    place = target.parent / "keys"
    words = [[str(place / name) for name in (*pair, clone.AUTHORITY_ENTRY)]
             for pair in (clone.SERVER_ENTRIES, clone.CLIENT_ENTRIES)]  # fmt: skip
    with subprocess.Popen(
        [program, "receive", *words[0], target], stdout=subprocess.PIPE, text=True
    ) as receiver:
        assert receiver.stdout is not None
        address = receiver.stdout.readline().strip()
        subprocess.run([program, "send", *words[1], clone.HOST, address, source], check=True)
        assert receiver.wait() == 0


def built(folder: Path) -> Path | None:
    """The model, compiled; None where there is no Go."""
    if not shutil.which("go"):
        return None
    work, program = folder / "clonemodel", folder / "clonemodel" / "model"
    work.mkdir(exist_ok=True)
    shutil.copy(MODEL, work / "main.go")
    (work / "go.mod").write_text("module clonemodel\n\ngo 1.21\n\nrequire github.com/golang/snappy v0.0.4\n")
    env = {**os.environ, "GOFLAGS": "-mod=mod"}
    subprocess.run(["go", "build", "-o", program, "."], cwd=work, env=env, check=True)
    return program


def keys(folder: Path) -> None:
    """Those of one copy."""
    folder.mkdir()
    life = Life(datetime.now(UTC), timedelta(hours=2))
    authority = issue.authority("clone", life)
    (folder / clone.AUTHORITY_ENTRY).write_bytes(authority.certificate)
    for pair, entries in (
        (issue.server(authority, [clone.HOST], life), clone.SERVER_ENTRIES),
        (issue.client(authority, clone.CLIENT, life), clone.CLIENT_ENTRIES),
    ):
        (folder / entries[0]).write_bytes(pair.certificate)
        (folder / entries[1]).write_bytes(pair.key)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gib", type=int, default=10)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="place,network")
    parser.add_argument(
        "--in", dest="folder", type=Path, default=CACHE, help="a folder of the file system in question"
    )
    asked = parser.parse_args()
    main((asked.gib, asked.mib), asked.rounds, asked.only.split(","), asked.folder)
