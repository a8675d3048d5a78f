"""A vCenter of one machine: the six calls that we make, with the answers of the vSphere Web Services API's reference.

A real one cannot be had here; the same calls were tried by hand against govmomi's simulator.
"""

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from xml.sax.saxutils import escape

import trustme

USER, PASSWORD = "administrator@vsphere.local", "p<ss & word"
INSTANCE, BIOS = "5034a1b2-0000-1111-2222-333344445555", "42340000-aaaa-bbbb-cccc-ddddeeeeffff"
DISK = "[store1] guest/guest.vmdk"
SNAPSHOT = "[store1] guest/guest-000001.vmdk"
MACHINE = "vm-42"

SERVICES = (
    '<RetrieveServiceContentResponse xmlns="urn:vim25"><returnval>'
    '<propertyCollector type="PropertyCollector">collector-1</propertyCollector>'
    '<sessionManager type="SessionManager">sessions-1</sessionManager>'
    '<searchIndex type="SearchIndex">index-1</searchIndex></returnval></RetrieveServiceContentResponse>'
)
FIRST, SECOND = "snapshot-1", "snapshot-2"
"""Two snapshots of the machine; of the disk then: `guest.vmdk`, `guest-000001.vmdk`."""
CHANGE = "52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63/"
TREE = (
    '<RetrievePropertiesResponse xmlns="urn:vim25"><returnval><propSet><name>snapshot</name>'
    f'<val xsi:type="VirtualMachineSnapshotInfo"><currentSnapshot type="VirtualMachineSnapshot">{SECOND}'
    f'</currentSnapshot><rootSnapshotList><snapshot type="VirtualMachineSnapshot">{FIRST}</snapshot><name>one</name>'
    f'<childSnapshotList><snapshot type="VirtualMachineSnapshot">{SECOND}</snapshot><name>two</name>'
    "</childSnapshotList></rootSnapshotList></val></propSet></returnval></RetrievePropertiesResponse>"
)


def at_snapshot(number: int, file: str, size: int) -> str:
    """The devices of one of the snapshots."""
    return (
        '<RetrievePropertiesResponse xmlns="urn:vim25"><returnval><propSet><name>config.hardware.device</name>'
        '<val xsi:type="ArrayOfVirtualDevice"><VirtualDevice xsi:type="VirtualDisk"><key>2000</key>'
        f'<backing xsi:type="VirtualDiskFlatVer2BackingInfo"><fileName>{file}</fileName>'
        f"<changeId>{CHANGE}{number}</changeId></backing><capacityInBytes>{size}</capacityInBytes>"
        "<diskObjectId>1-2000</diskObjectId></VirtualDevice></val></propSet></returnval></RetrievePropertiesResponse>"
    )


DEVICES = (
    '<RetrievePropertiesResponse xmlns="urn:vim25"><returnval><obj type="VirtualMachine">vm-42</obj><propSet>'
    '<name>config.hardware.device</name><val xsi:type="ArrayOfVirtualDevice">'
    '<VirtualDevice xsi:type="VirtualCdrom"><key>3000</key><backing xsi:type="VirtualCdromIsoBackingInfo">'
    "<fileName>[store1] guest/guest.iso</fileName></backing></VirtualDevice>"
    '<VirtualDevice xsi:type="VirtualDisk"><key>2000</key><backing xsi:type="VirtualDiskFlatVer2BackingInfo">'
    f'<fileName>{SNAPSHOT}</fileName><parent xsi:type="VirtualDiskFlatVer2BackingInfo"><fileName>{DISK}</fileName>'
    "</parent></backing><diskObjectId>1-2000</diskObjectId></VirtualDevice></val></propSet></returnval></RetrievePropertiesResponse>"
)


@dataclass
class VCenter:
    """Where it listens, and what it was asked."""

    url: str
    thumbprint: str
    calls: list[str] = field(default_factory=list)
    size: int = 0
    """Of the disk at the snapshots."""
    changed: list[tuple[int, int]] = field(default_factory=list)
    """What has changed between them; told one area at a time."""


def _answer(place: VCenter, call: str, text: str) -> tuple[int, str]:
    """(status, body) of one call. Managed objects must be the ones that we have named."""
    if call == "RetrieveServiceContent":
        return 200, SERVICES
    if call == "Login" and "sessions-1" in text:
        right = f"<userName>{escape(USER)}</userName><password>{escape(PASSWORD)}</password>"
        return (200, _returned("Login", "")) if right in text else (500, _fault("InvalidLogin"))
    if call == "FindByUuid" and "index-1" in text:
        instance = "<instanceUuid>true</instanceUuid>" in text
        found = f"<uuid>{INSTANCE if instance else BIOS}</uuid>" in text
        return 200, _returned(
            call, f'<returnval type="VirtualMachine">{MACHINE}</returnval>' if found else ""
        )
    if call == "RetrieveProperties" and "collector-1" in text and f">{MACHINE}<" in text:
        return 200, TREE if "<pathSet>snapshot<" in text else DEVICES
    if call == "RetrieveProperties" and "collector-1" in text and ">VirtualMachineSnapshot<" in text:
        first = f">{FIRST}<" in text
        return 200, at_snapshot(1 if first else 2, DISK if first else SNAPSHOT, place.size)
    if call == "QueryChangedDiskAreas" and f">{SECOND}<" in text and f"<changeId>{CHANGE}1<" in text:
        start = int(re.findall(r"<startOffset>(\d+)<", text)[0])
        areas = [area for area in place.changed if area[0] >= start]
        end = areas[1][0] if len(areas) > 1 else place.size
        told = "".join(
            f"<changedArea><start>{at}</start><length>{length}</length></changedArea>"
            for at, length in areas[:1]
        )
        return 200, _returned(
            call,
            f"<returnval><startOffset>{start}</startOffset><length>{end - start}</length>{told}</returnval>",
        )
    if call == "Logout" and "sessions-1" in text:
        return 200, _returned(call, "")
    return 500, _fault("InvalidRequest")


def _returned(call: str, content: str) -> str:
    return f'<{call}Response xmlns="urn:vim25">{content}</{call}Response>'


def _fault(kind: str) -> str:
    return (
        "<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>Cannot complete login due to an incorrect "
        f'user name or password.</faultstring><detail><{kind}Fault xmlns="urn:vim25"/></detail></soapenv:Fault>'
    )


@contextmanager
def vcenter() -> Iterator[VCenter]:
    """One that runs, behind a certificate that nobody but its thumbprint vouches for."""
    pair = trustme.CA().issue_cert("vcenter.example")
    der = ssl.PEM_cert_to_DER_cert(pair.cert_chain_pems[0].bytes().decode())
    digest = sha1(der).hexdigest().upper()
    place = VCenter("", ":".join(digest[at : at + 2] for at in range(0, 40, 2)))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            call = re.findall(r"<Body><(\w+)", text)[0]
            place.calls.append(call)
            allowed = call in ("RetrieveServiceContent", "Login") or "session=1" in self.headers.get(
                "Cookie", ""
            )
            status, content = _answer(place, call, text) if allowed else (500, _fault("NotAuthenticated"))
            body = (
                '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
                'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
                f"{content}</soapenv:Body></soapenv:Envelope>"
            ).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if call == "Login":
                self.send_header("Set-Cookie", "vmware_soap_session=1; Path=/; HttpOnly; Secure")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair.configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    place.url = f"https://127.0.0.1:{server.server_port}/sdk"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield place
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
