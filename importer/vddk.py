"""A VMware disk as an Image: VMware's own library inside nbdkit's vddk plugin, read over NBD.

VMware lets nobody pass its library on: the operator provides it, as an image (`initImageURL`) or a folder. nbdkit
runs as a child on a socket pair, so it ends with us whatever ends us; the password goes to it through a pipe.
"""

import os
import platform
import re
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

from diskyard.api.job import ImportJob
from diskyard.api.names import cdi
from diskyard.disk.extent import Extent, Range, coalesced
from diskyard.errors import InvalidRequest, SourceUnavailable
from diskyard.log import logger
from importer import vsphere
from importer.nbd import NbdImage
from importer.request import Access
from importer.vsphere import Place

TIMEOUT: Final = 300.0
"""Seconds without a word from nbdkit after which it is given up: its own retries are within it."""
_GRACE: Final = 10.0
"""Seconds that nbdkit has to close its disk."""
_LIBRARY: Final = "lib64/libvixDiskLib.so*"
_VERSION: Final = re.compile(r"nbdkit: debug: VMware VixDiskLib \(([^)]{1,64})\) Release build-")
_HOST: Final = re.compile(r"DISKLIB-LINK\s*: Opened '[^']*@([^:@']{1,255}):\d+'")
_ERROR: Final = re.compile(r"nbdkit: (?:[\w.-]+(?:\[\d+\])?: )?error: (.*)")
_WORTH: Final = 1 << 20
_LONGEST_LINE: Final = 4096
_REMEMBERED: Final = 5
_PASSED_ON: Final = ("PATH", "TMPDIR", "TZ")
"""Of our environment; what is secret in it is none of nbdkit's business."""

log = logger("vddk")


class VddkImage(NbdImage):
    """A disk behind nbdkit, and what nbdkit says of where it comes from."""

    def __init__(self, link: socket.socket, said: "_Said", changed: tuple[Range, ...] | None = None) -> None:
        """`changed`: what is told of the disk; None: all of it."""
        self._said = said
        self._changed = changed
        super().__init__(link)

    @property
    def about(self) -> Mapping[str, str]:
        """The library's `version` and the `host` that it reads from, as far as they are known by now."""
        return {"version": self._said.version, "host": self._said.host}

    def extents(self) -> Iterator[Extent]:
        if self._changed is None:
            return super().extents()
        return coalesced(extent for area in self._changed for extent in self._in(area))

    def _in(self, area: Range) -> Iterator[Extent]:
        """Of a small area it is not worth the question where its zeros are."""
        if area.end > self.size:
            raise SourceUnavailable(
                f"vSphere tells a change at {area.start} of {area.length} bytes, the disk has {self.size}"
            )
        return (
            self.allocation(area) if area.length >= _WORTH else iter([Extent(area.start, area.length, False)])
        )


@contextmanager
def opened(job: ImportJob, access: Access) -> Iterator[VddkImage]:
    """The disk of a machine in vSphere. Raises InvalidRequest, AccessDenied, SourceMissing, SourceUnavailable."""
    check(job)
    place = vsphere.place(job, access)
    log.info("opening", machine=place.machine, file=place.file, server=urlsplit(job.endpoint).hostname)
    with served(arguments(job, place), job.secret_key, place.changed) as image:
        yield image


def check(job: ImportJob) -> None:
    """Nothing where a job can be done here. Raises InvalidRequest."""
    wanted = {"uuid": job.uuid, "backingFile": job.backing_file, "thumbprint": job.thumbprint}
    missing = [field for field, text in wanted.items() if not text]
    if missing:
        raise InvalidRequest(f"a vddk source needs {', '.join(missing)}")
    if "\n" in job.secret_key:
        raise InvalidRequest("the password (secretKey) has a line break in it: expected one line")
    if not list(Path(job.vddk_dir).glob(_LIBRARY)):
        raise InvalidRequest(
            f"expected VMware's library at {job.vddk_dir}/{_LIBRARY}, found none. Nobody but VMware may pass it on: "
            "download the VDDK (x86_64, 7.0 or later), put its folder vmware-vix-disklib-distrib into an image named "
            f"in spec.source.vddk.initImageURL, or into a folder of this machine named in {cdi.ENV_VDDK_DIR}"
        )
    if platform.machine() != "x86_64":
        raise InvalidRequest(
            f"VMware's library runs on x86_64 only, this is {platform.machine()}: import on another node"
        )


def arguments(job: ImportJob, place: Place) -> tuple[str, ...]:
    """nbdkit's arguments for a disk, but for the password."""
    snapshot = (f"snapshot={place.snapshot}",) if place.snapshot else ()
    extra = (f"config={cdi.VDDK_ARGS_FILE}",) if Path(cdi.VDDK_ARGS_FILE).is_file() else ()
    return (
        "--filter=cacheextents", "--filter=retry", "--verbose",
        "-D", "nbdkit.backend.datapath=0", "-D", "vddk.datapath=0", "-D", "vddk.stats=1",
        "vddk", f"libdir={job.vddk_dir}", f"server={urlsplit(job.endpoint).hostname}", f"user={job.access_key}",
        f"thumbprint={job.thumbprint}", f"vm=moref={place.machine}", f"file={place.file}",
        "transports=file:nbdssl:nbd", *snapshot, *extra,
    )  # fmt: skip


@contextmanager
def served(
    plugin: Sequence[str], password: str = "", changed: tuple[Range, ...] | None = None
) -> Iterator[VddkImage]:
    """What an nbdkit of our own serves; `plugin`: its filters, its plugin and their arguments.

    Raises InvalidRequest (nbdkit or its plugin is not installed), SourceUnavailable with what nbdkit said last.
    """
    said = _Said()
    try:
        with _child(plugin, password, said) as link, closing(VddkImage(link, said, changed)) as image:
            yield image
    except SourceUnavailable as error:
        if "-plugin.so: cannot open shared object file" in said.last:
            raise InvalidRequest(
                f"nbdkit has no such plugin: {said.last}. Install it (Fedora, CentOS: nbdkit-vddk-plugin; Debian's "
                "nbdkit is built without it)"
            ) from error
        raise SourceUnavailable(f"{error}. nbdkit said: {said.last or 'nothing'}") from error


@contextmanager
def _child(plugin: Sequence[str], password: str, said: "_Said") -> Iterator[socket.socket]:
    """nbdkit on the other end of a connection; ended, and all that it has to say read, on leaving."""
    with ExitStack() as stack:
        link, theirs = socket.socketpair()
        stack.enter_context(theirs)
        secret = _pipe(password, stack)
        command = ["nbdkit", "--single", "--exit-with-parent", "--readonly", *plugin]
        if password:
            command.append(f"password=-{secret}")
        try:
            process = subprocess.Popen(
                command, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.PIPE, pass_fds=(secret,),
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ} | {"HOME": "/nonexistent"},
            )  # fmt: skip
        except FileNotFoundError as error:
            link.close()
            raise InvalidRequest(
                "expected the program nbdkit, found none: install the package nbdkit"
            ) from error
    listener = threading.Thread(target=said.listen, args=(process.stderr,), name="nbdkit's log", daemon=True)
    listener.start()
    link.settimeout(TIMEOUT)
    try:
        yield link
    finally:
        link.close()
        _end(process)
        listener.join(_GRACE)


def _pipe(text: str, stack: ExitStack) -> int:
    """A descriptor that gives a text, which must fit a pipe, and closes with the stack."""
    outlet, inlet = os.pipe()
    stack.callback(os.close, outlet)
    os.write(inlet, text.encode()[:4096])
    os.close(inlet)
    return outlet


def _end(process: "subprocess.Popen[bytes]") -> None:
    """It ends when its client has hung up; if not, it is made to."""
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class _Said:
    """What we keep of a log that is far too long to be kept."""

    def __init__(self) -> None:
        self.version = ""
        self.host = ""
        self._errors: deque[str] = deque(maxlen=_REMEMBERED)

    @property
    def last(self) -> str:
        """Its last errors."""
        return "; ".join(self._errors)

    def listen(self, lines: IO[bytes]) -> None:
        """Read to the end."""
        with lines:
            while line := lines.readline(_LONGEST_LINE):
                self._heard(line.decode(errors="replace").rstrip())

    def _heard(self, line: str) -> None:
        if found := _VERSION.search(line):
            self.version = found[1]
        elif found := _HOST.search(line):
            self.host = found[1]
        elif found := _ERROR.match(line):
            self._errors.append(found[1])
