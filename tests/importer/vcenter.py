"""A vCenter of one machine: the five calls that we make, with the answers of the vSphere Web Services API's reference.

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
DEVICES = (
    '<RetrievePropertiesResponse xmlns="urn:vim25"><returnval><obj type="VirtualMachine">vm-42</obj><propSet>'
    '<name>config.hardware.device</name><val xsi:type="ArrayOfVirtualDevice">'
    '<VirtualDevice xsi:type="VirtualCdrom"><key>3000</key><backing xsi:type="VirtualCdromIsoBackingInfo">'
    "<fileName>[store1] guest/guest.iso</fileName></backing></VirtualDevice>"
    '<VirtualDevice xsi:type="VirtualDisk"><key>2000</key><backing xsi:type="VirtualDiskFlatVer2BackingInfo">'
    f'<fileName>{SNAPSHOT}</fileName><parent xsi:type="VirtualDiskFlatVer2BackingInfo"><fileName>{DISK}</fileName>'
    "</parent></backing></VirtualDevice></val></propSet></returnval></RetrievePropertiesResponse>"
)


@dataclass
class VCenter:
    """Where it listens, and what it was asked."""

    url: str
    thumbprint: str
    calls: list[str] = field(default_factory=list)


def _answer(call: str, text: str) -> tuple[int, str]:
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
        return 200, DEVICES
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
            status, content = _answer(call, text) if allowed else (500, _fault("NotAuthenticated"))
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
