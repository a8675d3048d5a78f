"""The way to the upload proxy: what was named; else the CDIConfig's, its Service's, and through the API server."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

import click
import requests
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from cli.tunnel import Tunnel
from cli.way import Way, session
from cli.wishes import UploadWish
from diskyard.api import meta
from diskyard.api.meta import CDI_CONFIG, POD, SERVICE, Key, Obj
from diskyard.api.names import cdi, upload
from diskyard.errors import ApiError, InvalidRequest, NotFound
from diskyard.kube.client import Selection
from diskyard.kube.http import HttpClient
from diskyard.kube.reconcile import find

PROXY: Final = Key(upload.PROXY, cdi.NAMESPACE)
HOST: Final = f"{PROXY.name}.{PROXY.namespace}.svc"
"""A name that the proxy's own certificate has, wherever the proxy is reached."""
_PATIENCE: Final = (3.0, 10.0)
"""Seconds to be let in, and to be answered."""


@contextmanager
def found(api: HttpClient, wish: UploadWish) -> Iterator[Way]:
    """The first way on which somebody answers. Raises InvalidRequest where there is none."""
    config = find(api, CDI_CONFIG, Key(cdi.CONFIG_NAME)) or {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        known = _authorities(config, Path(folder))
        verify = False if wish.insecure else known or True
        said = (
            wish.url
            or meta.spec(config).get("uploadProxyURLOverride")
            or meta.status(config).get("uploadProxyURL")
        )
        told = Way((said if "://" in said else f"https://{said}").rstrip("/"), verify) if said else None
        if wish.url and told:
            yield told
            return
        yield _first(told, _others(api, known, verify, stack))


def _authorities(config: Obj, folder: Path) -> str:
    """Whom the CDIConfig says to trust, beside those whom everybody trusts, as a file; empty: it says nobody.

    An Ingress in front of the proxy may have a certificate of the latter.
    """
    text = meta.status(config).get("uploadProxyCA")
    if not text:
        return ""
    file = folder / "ca.crt"
    file.write_text(f"{Path(DEFAULT_CA_BUNDLE_PATH).read_text()}\n{text}")
    return str(file)


def _first(told: Way | None, others: Iterator[tuple[str, Way]]) -> Way:
    failures = []
    if told:
        why = _silence(told)
        if not why:
            return told
        failures.append(f"{told.url}: {why}")
    try:
        for name, way in others:
            why = _silence(way)
            if not why:
                click.echo("\n".join((*failures, f"going by {name}")), err=True)
                return way
            failures.append(f"{name}: {why}")
    except ApiError as error:
        failures.append(str(error))
    if told:
        click.echo("\n".join(failures), err=True)
        return told  # it may come back while we try
    raise InvalidRequest(
        "uploadproxy URL not found: the CDIConfig says none"
        + "".join(f"; {each}" for each in failures)
        + ". Give --uploadproxy-url, such as https://localhost:8443 beside "
        f"`kubectl -n {PROXY.namespace} port-forward service/{PROXY.name} 8443:443`"
    )


def _silence(way: Way) -> str:
    """Why nobody answers there; empty: somebody does."""
    try:
        with session(way) as asking:
            asking.get(f"{way.url}/healthz", timeout=_PATIENCE, verify=way.verify, allow_redirects=False)
    except requests.RequestException as error:
        cause = error.args[0] if error.args else error
        return str(getattr(cause, "reason", cause)).rpartition(": ")[2] or type(error).__name__
    return ""


def _others(api: HttpClient, known: str, verify: str | bool, stack: ExitStack) -> Iterator[tuple[str, Way]]:
    """The Service's addresses, as far as whoever answers there can be known; a tunnel. Raises ApiError."""
    service = api.get(SERVICE, PROXY)
    for host, port in _places(service) if known else ():
        address = f"[{host}]" if ":" in host else host
        yield f"the Service's {address}:{port}", Way(f"https://{address}:{port}", known, HOST)
    if not meta.spec(service).get("selector"):
        return
    tunnel = stack.enter_context(closing(Tunnel(api, lambda: _forward(api, service))))
    yield "a port-forward of the API server", Way(f"https://127.0.0.1:{tunnel.port}", verify, HOST)
    if tunnel.failure:
        raise NotFound(tunnel.failure)


def _places(service: Obj) -> Iterator[tuple[str, int]]:
    """A load balancer's, those of an operator, the cluster's own."""
    spec = meta.spec(service)
    ports: Sequence[Obj] = spec.get("ports") or ()
    if not ports:
        return
    balancer = (meta.status(service).get("loadBalancer") or {}).get("ingress") or ()
    hosts = [str(each.get("ip") or each.get("hostname") or "") for each in balancer]
    hosts += [str(each) for each in (*(spec.get("externalIPs") or ()), spec.get("clusterIP") or "")]
    yield from ((host, int(ports[0]["port"])) for host in dict.fromkeys(hosts) if host not in ("", "None"))


def _forward(api: HttpClient, service: Obj) -> str:
    """The path of a port of a pod that is ready. Raises ApiError."""
    wanted = ",".join(f"{name}={text}" for name, text in meta.spec(service)["selector"].items())
    pods = api.list(POD, Selection(PROXY.namespace, labels=wanted)).items
    ready = [
        each for each in pods
        if meta.holds(each, "Ready") and not meta.deleting(each)
    ]  # fmt: skip
    if not ready:
        raise NotFound(f"none of the {len(pods)} pods of the Service {PROXY} is ready")
    pod = ready[0]
    port = _port(service, pod)
    return f"/api/v1/namespaces/{PROXY.namespace}/pods/{meta.name(pod)}/portforward?ports={port}"


def _port(service: Obj, pod: Obj) -> int:
    """The pod's port behind the Service's first, which may be told by name."""
    said = ((meta.spec(service).get("ports") or [{}])[0]).get("targetPort", upload.PORT)
    ports = [port for each in meta.spec(pod).get("containers") or () for port in each.get("ports") or ()]
    return next((int(port["containerPort"]) for port in ports if port.get("name") == said), 0) or (
        int(said) if str(said).isdecimal() else upload.PORT
    )
