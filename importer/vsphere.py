"""Where a machine's disk is in vSphere, and what has changed of it: questions in SOAP, to vCenter or an ESXi host.

After the vSphere Web Services API reference: SearchIndex.FindByUuid, PropertyCollector.RetrieveProperties,
VirtualMachine.QueryChangedDiskAreas. Where no authority's certificate is given, exactly the certificate with the
job's thumbprint is trusted, and no other.
"""

import hashlib
import re
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from http.client import HTTPException
from typing import Final
from urllib.parse import urlunsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from diskyard.api.job import ImportJob
from diskyard.disk.extent import Range
from diskyard.errors import AccessDenied, DiskyardError, InvalidRequest, SourceMissing, SourceUnavailable
from importer.address import Policy
from importer.connection import opened, origin
from importer.request import Access, Client, Request, shown
from importer.url import parsed

_ENVELOPE: Final = (
    '<?xml version="1.0" encoding="UTF-8"?><Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/">'
    '<Body><{name} xmlns="urn:vim25">{content}</{name}></Body></Envelope>'
)
_HEADERS: Final = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": "urn:vim25/6.5"}
_VIM: Final = "{urn:vim25}"
_TYPE: Final = "{http://www.w3.org/2001/XMLSchema-instance}type"
_LONGEST_ANSWER: Final = 8 << 20
_CHANGE: Final = re.compile(r"(?:[0-9a-fA-F]{2}\s?)*-(?:[0-9a-fA-F]{2}\s?)*/[0-9a-fA-F]*|\*")
"""A change ID: `52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63/81`."""
_MOST_AREAS: Final = 1 << 20
_NAMED: Final = 16
"""Disks that an error names."""
Element = ElementTree.Element


@dataclass(frozen=True)
class Place:
    """What the vddk plugin must know of a disk."""

    machine: str
    """Managed object reference: `vm-42`."""
    file: str
    """`[datastore] folder/disk.vmdk`: the topmost of the disk's chain, as it is or was at the snapshot."""
    snapshot: str = ""
    """Managed object reference of the stage's snapshot: `snapshot-47`."""
    changed: tuple[Range, ...] | None = None
    """What has changed since the stage before; None: the whole disk is to be read."""


@dataclass(frozen=True)
class _Disk:
    """A virtual disk of a machine, as it is or was at a snapshot."""

    files: tuple[str, ...]
    """The topmost first, then what it is built on."""
    key: str
    identity: str
    """The same at every snapshot."""
    change: str
    """Names this state of its contents; empty where changes are not tracked."""
    size: int


def place(job: ImportJob, access: Access) -> Place:
    """Where the job's disk is, for the user that `access` names.

    Raises AccessDenied, InvalidRequest, SourceMissing, SourceUnavailable.
    """

    with closing(Client()) as client, _Session.of(client, job, access) as session:
        machine = session.machine(job.uuid)
        disks = session.disks("VirtualMachine", machine, "config.hardware.device")
        for disk in disks:
            if job.backing_file in disk.files:
                return (
                    _stage(session, job, machine, disk) if job.checkpoint else Place(machine, disk.files[0])
                )
    found = ", ".join(repr(file) for disk in disks[:_NAMED] for file in disk.files[:1]) or "none"
    raise SourceMissing(
        f"expected a disk {job.backing_file!r} of machine {job.uuid}, found {found}. Correct backingFile"
    )


def _stage(session: "_Session", job: ImportJob, machine: str, disk: _Disk) -> Place:
    """The disk at the stage's snapshot, and what has changed since the stage before."""
    snapshot = session.snapshot(machine, job.checkpoint)
    then = session.disk_at(snapshot, disk)
    if not job.previous:
        return Place(machine, then.files[0], snapshot)
    change = job.previous
    if not _CHANGE.fullmatch(change):
        change = session.disk_at(session.snapshot(machine, change), disk).change
    if not change:
        raise InvalidRequest(
            f"vSphere does not track what changes of {job.backing_file!r}: switch ctkEnabled on for the machine and "
            "the disk, take a snapshot, and begin with a stage of everything"
        )
    return Place(machine, then.files[0], snapshot, session.changes(machine, snapshot, then, change))


class _Session:
    """A login, and what is asked in it."""

    def __init__(self, client: Client, url: str, access: Access) -> None:
        self._client = client
        self._url = url
        self._access = access
        self._cookie: dict[str, str] = {}
        services = self._asked("RetrieveServiceContent", _this("ServiceInstance", "ServiceInstance"))
        self._services = {child.tag.removeprefix(_VIM): child.text or "" for child in services.iter()}

    @classmethod
    @contextmanager
    def of(cls, client: Client, job: ImportJob, access: Access) -> "Iterator[_Session]":
        """A session that has logged in, and logs out."""
        parts = parsed(job.endpoint)
        trusting = replace(access, user="", password="", headers=())
        if parts.scheme == "https" and not access.ca_dir:
            trusting = replace(trusting, insecure=False, pinned=certificate(job, access))
        path = parts.path if parts.path.strip("/") else "/sdk"
        url = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], path, "", ""))
        session = cls(client, url, trusting)
        session._login(access.user, access.password)
        try:
            yield session
        finally:
            with suppress(DiskyardError):
                session._asked("Logout", session._service("sessionManager", "SessionManager"))

    def machine(self, uuid: str) -> str:
        """The machine with that instance UUID, or else that BIOS UUID."""
        for instance in ("true", "false"):
            question = (
                f"{self._service('searchIndex', 'SearchIndex')}<uuid>{escape(uuid)}</uuid>"
                f"<vmSearch>true</vmSearch><instanceUuid>{instance}</instanceUuid>"
            )
            found = self._asked("FindByUuid", question).find(f".//{_VIM}returnval")
            if found is not None and found.text:
                return found.text
        raise SourceMissing(f"{shown(self._url)} has no machine with UUID {uuid}: correct uuid")

    def disks(self, kind: str, reference: str, property_path: str) -> list[_Disk]:
        """The disks of a machine, or of a snapshot of one."""
        devices = self._property(kind, reference, property_path).iter(f"{_VIM}VirtualDevice")
        return [_disk(each) for each in devices if each.get(_TYPE, "").rpartition(":")[2] == "VirtualDisk"]

    def snapshot(self, machine: str, name: str) -> str:
        """The reference of a machine's snapshot, which is named by that or by its name."""
        tree = self._property("VirtualMachine", machine, "snapshot")
        for each in tree.iter():
            reference = each.findtext(f"{_VIM}snapshot")
            if reference and name in (reference, each.findtext(f"{_VIM}name")):
                return reference
        raise SourceMissing(f"machine {machine} has no snapshot {name!r}: correct spec.checkpoints")

    def disk_at(self, snapshot: str, disk: _Disk) -> _Disk:
        """A disk as it was at a snapshot."""
        for each in self.disks("VirtualMachineSnapshot", snapshot, "config.hardware.device"):
            if each.identity == disk.identity:
                return each
        raise SourceMissing(f"the snapshot {snapshot} does not hold the disk {disk.files[0]!r}")

    def changes(self, machine: str, snapshot: str, disk: _Disk, since: str) -> tuple[Range, ...]:
        """What of a disk has changed since the state of that name until a snapshot, in order. 2000 come at a time."""
        found: list[Range] = []
        start = 0
        while start < disk.size:
            answer = self._asked(
                "QueryChangedDiskAreas",
                f'{_this("VirtualMachine", machine)}<snapshot type="VirtualMachineSnapshot">{escape(snapshot)}'
                f"</snapshot><deviceKey>{escape(disk.key)}</deviceKey><startOffset>{start}</startOffset>"
                f"<changeId>{escape(since)}</changeId>",
            )
            areas = [
                Range(_whole(each, "start"), _whole(each, "length"))
                for each in answer.iter(f"{_VIM}changedArea")
            ]
            told = answer.find(f".//{_VIM}returnval")
            length = _whole(told, "length") if told is not None else 0
            end = start + length
            inside = all(start <= area.start and area.end <= disk.size for area in areas)
            if not length or not inside or len(found) + len(areas) > _MOST_AREAS:
                raise SourceUnavailable(
                    f"{shown(self._url)} tells changes from {start} on that cannot be: {len(areas)} within {length} "
                    f"bytes of a disk of {disk.size}"
                )
            found += areas
            start = end
        return tuple(sorted(found, key=lambda area: area.start))

    def _property(self, kind: str, reference: str, path: str) -> Element:
        question = (
            f"{self._service('propertyCollector', 'PropertyCollector')}<specSet><propSet><type>{kind}</type>"
            f"<pathSet>{path}</pathSet></propSet><objectSet>"
            f'<obj type="{kind}">{escape(reference)}</obj></objectSet></specSet>'
        )
        return self._asked("RetrieveProperties", question)

    def _login(self, user: str, password: str) -> None:
        service = self._service("sessionManager", "SessionManager")
        said = f"<userName>{escape(user)}</userName><password>{escape(password)}</password>"
        self._asked("Login", service + said)

    def _service(self, name: str, kind: str) -> str:
        return _this(kind, self._services.get(name, kind))

    def _asked(self, name: str, content: str) -> Element:
        """The content of the answer to a call. Raises what its fault means."""
        envelope = _ENVELOPE.format(name=name, content=content)
        request = Request("POST", _HEADERS | self._cookie, envelope.encode())
        answer = self._client.ask(self._url, self._access, request, (200, 500))
        with closing(answer):
            cookie = answer.headers.get("Set-Cookie", "").partition(";")[0]
            if cookie:
                self._cookie = {"Cookie": cookie}
            tree = self._tree(answer.read(_LONGEST_ANSWER))
        if answer.status == 200:
            return tree
        fault = next((each.text or "" for each in tree.iter("faultstring")), "no reason")
        kinds = {each.tag.rpartition("}")[2] for each in tree.iter()}
        if kinds & {"InvalidLoginFault", "NoPermissionFault", "InvalidLogin", "NoPermission"}:
            raise AccessDenied(f"{shown(self._url)} refuses {name}: {fault}. Correct the secret (secretRef)")
        raise SourceUnavailable(f"{shown(self._url)} failed at {name}: {fault}")

    def _tree(self, text: bytes) -> Element:
        if b"<!DOCTYPE" in text:
            raise InvalidRequest(
                f"{shown(self._url)} is no vSphere API: it answered with a document of its own type"
            )
        try:
            return ElementTree.fromstring(text)
        except ElementTree.ParseError as error:
            raise InvalidRequest(f"{shown(self._url)} is no vSphere API: {error}. Correct the URL") from error


def certificate(job: ImportJob, access: Access) -> str:
    """The server's certificate (PEM), which has the job's thumbprint. Raises InvalidRequest, SourceUnavailable."""
    parts = parsed(job.endpoint)
    unproven = Access(insecure=True)
    try:
        connection, _ = opened(
            origin(parts), access.proxy(parts), Policy(access.allowed), lambda: unproven.tls
        )
    except (OSError, HTTPException) as error:
        raise SourceUnavailable(f"cannot reach {shown(job.endpoint)}: {error}") from error
    with closing(connection):
        sock = connection.sock
        found = sock.getpeercert(binary_form=True) if isinstance(sock, ssl.SSLSocket) else None
    digest = hashlib.sha1(found or b"", usedforsecurity=False).hexdigest()
    if digest != job.thumbprint.replace(":", "").lower():
        pairs = ":".join(digest[at : at + 2] for at in range(0, len(digest), 2)).upper()
        raise InvalidRequest(
            f"expected the certificate of {parts.hostname} to have thumbprint {job.thumbprint}, found {pairs}. If "
            "that is the right server, correct thumbprint"
        )
    return ssl.DER_cert_to_PEM_cert(found or b"")


def _disk(device: Element) -> _Disk:
    backing = device.find(f"{_VIM}backing")
    files = tuple(file.text or "" for file in device.iter(f"{_VIM}fileName"))
    return _Disk(
        files=files or ("",),
        key=device.findtext(f"{_VIM}key") or "",
        identity=device.findtext(f"{_VIM}diskObjectId") or "",
        change=(backing.findtext(f"{_VIM}changeId") if backing is not None else "") or "",
        size=_whole(device, "capacityInBytes") or _whole(device, "capacityInKB") << 10,
    )


def _whole(element: Element, name: str) -> int:
    text = element.findtext(f"{_VIM}{name}") or ""
    return int(text) if text.isdecimal() and len(text) < 19 else 0


def _this(kind: str, reference: str) -> str:
    return f'<_this type="{kind}">{escape(reference)}</_this>'
