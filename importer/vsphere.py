"""Where a machine's disk is in vSphere: five questions in SOAP, to vCenter or to an ESXi host.

After the vSphere Web Services API reference: SearchIndex.FindByUuid, PropertyCollector.RetrieveProperties. Where no
authority's certificate is given, exactly the certificate with the job's thumbprint is trusted, and no other.
"""

import hashlib
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
from diskyard.errors import AccessDenied, DiskyardError, InvalidRequest, SourceMissing, SourceUnavailable
from importer.address import Policy
from importer.connection import opened, origin
from importer.request import Access, Client, Request, parsed, shown

_ENVELOPE: Final = (
    '<?xml version="1.0" encoding="UTF-8"?><Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/">'
    '<Body><{name} xmlns="urn:vim25">{content}</{name}></Body></Envelope>'
)
_HEADERS: Final = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": "urn:vim25/6.5"}
_VIM: Final = "{urn:vim25}"
_TYPE: Final = "{http://www.w3.org/2001/XMLSchema-instance}type"
_LONGEST_ANSWER: Final = 8 << 20
_NAMED: Final = 16
"""Disks that an error names."""
Element = ElementTree.Element


@dataclass(frozen=True)
class Place:
    """What the vddk plugin must know of a disk."""

    machine: str
    """Managed object reference: `vm-42`."""
    file: str
    """`[datastore] folder/disk.vmdk`: the topmost of the disk's chain."""


def place(job: ImportJob, access: Access) -> Place:
    """Where the job's disk is, for the user that `access` names.

    Raises AccessDenied, InvalidRequest, SourceMissing, SourceUnavailable.
    """

    with closing(Client()) as client, _Session.of(client, job, access) as session:
        machine = session.machine(job.uuid)
        disks = session.disks(machine)
        for chain in disks:
            if job.backing_file in chain:
                return Place(machine, chain[0])
    found = ", ".join(repr(file) for chain in disks[:_NAMED] for file in chain[:1]) or "none"
    raise SourceMissing(
        f"expected a disk {job.backing_file!r} of machine {job.uuid}, found {found}. Correct backingFile"
    )


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

    def disks(self, machine: str) -> list[list[str]]:
        """The files of each disk, the topmost first, then what it is built on."""
        question = (
            f"{self._service('propertyCollector', 'PropertyCollector')}<specSet><propSet><type>VirtualMachine</type>"
            "<pathSet>config.hardware.device</pathSet></propSet><objectSet>"
            f'<obj type="VirtualMachine">{escape(machine)}</obj></objectSet></specSet>'
        )
        devices = self._asked("RetrieveProperties", question).iter(f"{_VIM}VirtualDevice")
        disks = [device for device in devices if device.get(_TYPE, "").rpartition(":")[2] == "VirtualDisk"]
        return [[file.text or "" for file in disk.iter(f"{_VIM}fileName")] for disk in disks]

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


def _this(kind: str, reference: str) -> str:
    return f'<_this type="{kind}">{escape(reference)}</_this>'
