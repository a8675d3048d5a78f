"""Client over HTTP: any API server, with the configuration and credentials of the official `kubernetes` package.

Only its configuration (kubeconfig, service account, exec plugins) and its connection pool are used; objects stay the
dicts that orjson reads.
"""

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson
import urllib3
import websocket
from kubernetes import config
from kubernetes.client.configuration import Configuration
from kubernetes.client.rest import RESTClientObject
from urllib3.response import BaseHTTPResponse

from diskyard import VERSION
from diskyard.api import meta
from diskyard.api.meta import POD, Key, Kind, Obj
from diskyard.errors import ApiError, Expired, InvalidRequest, ServerError, api_error
from diskyard.kube.client import ALL, DELETE, Change, Deletion, Listing, Patch, Selection

POOL: Final = 32
"""Connections kept for reuse."""
_CONNECT: Final = 10.0
_ANSWER: Final = 60.0
_KEEPALIVE: Final = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
]
"""A watch may be silent for long: that its server is gone without a word is found out within a minute."""
_TOKEN_KEPT: Final = 10.0
_WATCH: Final = 300
"""Seconds after which a watch is begun anew by whoever holds it."""
_JSON: Final = "application/json"
_TABLE: Final = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
AGENT: Final = f"diskyard/{VERSION}"
"""What comes before the slash is the name of our writes in `managedFields`."""
_ONCE: Final = urllib3.Retry(
    connect=2, read=0, redirect=0, status=0, other=0, respect_retry_after_header=False
)
"""Try again only what the server cannot have seen."""

_loading: Final = threading.Lock()
"""The package gives one thread the name of a file that another one has not filled yet."""
_from_file: Final[Callable[..., None]] = config.load_kube_config
_from_surroundings: Final[Callable[..., None]] = config.load_config


@dataclass(frozen=True)
class LogWish:
    """Which part of a container's log."""

    container: str = ""
    """Empty: the only one."""
    follow: bool = False
    tail: int | None = None
    """Lines from the end; None: all."""
    since: int | None = None
    """Seconds ago; None: from the beginning."""
    timestamps: bool = False
    previous: bool = False

    def query(self) -> dict[str, str]:
        """The wish as PodLogOptions in a query."""
        asked = {
            "container": self.container,
            "follow": "true" if self.follow else "",
            "tailLines": "" if self.tail is None else str(self.tail),
            "sinceSeconds": "" if self.since is None else str(self.since),
            "timestamps": "true" if self.timestamps else "",
            "previous": "true" if self.previous else "",
        }
        return {name: value for name, value in asked.items() if value}


def connect(kubeconfig: Path | None = None, patience: float = _ANSWER) -> "HttpClient":
    """A client for the server that the kubeconfig names; None: $KUBECONFIG, ~/.kube/config or the pod's own account.

    An answer is waited for so many seconds. Raises InvalidRequest when there is none of these, or it cannot be read.
    """
    settings = Configuration()
    named = str(kubeconfig or os.environ.get("KUBECONFIG") or "")
    if named and not any(Path(each).exists() for each in named.split(os.pathsep)):
        raise InvalidRequest(f"no API server can be told from {named}: there is no such file")
    try:
        with _loading:
            if kubeconfig is not None:
                _from_file(str(kubeconfig), client_configuration=settings)
            else:
                _from_surroundings(client_configuration=settings)
    except (config.ConfigException, OSError, ValueError) as error:
        where = kubeconfig or "$KUBECONFIG, ~/.kube/config or a service account"
        raise InvalidRequest(f"no API server can be told from {where}: {error}") from error
    return HttpClient(settings, patience)


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = _JSON
    accept: str = _JSON


class HttpClient:
    """An API server across the network."""

    def __init__(self, settings: Configuration, patience: float = _ANSWER) -> None:
        settings.connection_pool_maxsize = POOL
        settings.socket_options = _KEEPALIVE
        self._settings = settings
        self._patience = patience
        self._pool: urllib3.PoolManager = RESTClientObject(settings).pool_manager
        self._known: tuple[float, dict[str, str]] = (float("-inf"), {})
        self.url = str(settings.host).rstrip("/")
        """Where the server is."""

    def close(self) -> None:
        """Let the connections go."""
        self._pool.clear()

    def get(self, kind: Kind, key: Key) -> Obj:
        return self._ask(_Request("GET", _path(kind, key.namespace, key.name)))

    def list(self, kind: Kind, selection: Selection = ALL) -> Listing:
        found = self._ask(_Request("GET", _path(kind, selection.namespace or ""), _query(selection)))
        named = {"apiVersion": kind.api_version, "kind": kind.kind}
        items = tuple({**named, **item} for item in found.get("items") or ())
        return Listing(items, str(meta.meta(found).get("resourceVersion", "")))

    def watch(self, kind: Kind, since: str, selection: Selection = ALL) -> "HttpWatch":
        asked = {
            **_query(selection),
            "watch": "true",
            "resourceVersion": since,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH),
        }
        request = _Request("GET", _path(kind, selection.namespace or ""), asked)
        return HttpWatch(self._open(request, quiet=_WATCH + 30))

    def table(self, kind: Kind, selection: Selection = ALL, name: str = "") -> Obj:
        """The rows that people read, as a `meta.k8s.io/v1` Table: of one object, or of all that fit."""
        path = _path(kind, selection.namespace or "", name)
        return self._ask(_Request("GET", path, _query(selection), accept=_TABLE))

    def tables(self, kind: Kind, since: str, selection: Selection = ALL) -> "HttpWatch":
        """A watch whose changes carry a Table of one row in place of the object."""
        asked = {
            **_query(selection),
            "watch": "true",
            "resourceVersion": since,
            "timeoutSeconds": str(_WATCH),
        }
        request = _Request("GET", _path(kind, selection.namespace or ""), asked, accept=_TABLE)
        return HttpWatch(self._open(request, quiet=_WATCH + 30))

    def create(self, kind: Kind, obj: Obj, subresource: str = "") -> Obj:
        if subresource:
            path = _path(kind, meta.namespace(obj), meta.name(obj), subresource)
            return self._ask(_Request("POST", path, body=obj))
        return self._ask(_Request("POST", _path(kind, meta.namespace(obj)), body=_named(kind, obj)))

    def update(self, kind: Kind, obj: Obj, subresource: str = "") -> Obj:
        path = _path(kind, meta.namespace(obj), meta.name(obj), subresource)
        return self._ask(_Request("PUT", path, body=_named(kind, obj)))

    def patch(self, kind: Kind, key: Key, patch: Any, subresource: str = "", how: Patch = Patch.MERGE) -> Obj:
        path = _path(kind, key.namespace, key.name, subresource)
        return self._ask(_Request("PATCH", path, body=patch, content_type=str(how)))

    def delete(self, kind: Kind, key: Key, deletion: Deletion = DELETE) -> Obj:
        """As of `Client`; of an object that is gone at once the server may tell no more than its name and uid."""
        path = _path(kind, key.namespace, key.name)
        left = self._ask(_Request("DELETE", path, body=_options(deletion)))
        if left.get("kind") != "Status":
            return left
        uid = (left.get("details") or {}).get("uid", "")
        metadata = {"name": key.name, "namespace": key.namespace, "uid": uid}
        return {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {name: value for name, value in metadata.items() if value},
        }

    def order(self, path: str, options: Obj) -> Obj:
        """Have something done by a subresource; what it answers, if anything. Raises ApiError."""
        return self._ask(_Request("PUT", path, body=options))

    def text(self, path: str) -> str:
        """What a path answers that has no object to answer with. Raises ApiError."""
        return b"".join(self._pieces(self._open(_Request("GET", path, accept="*/*"), quiet=_ANSWER))).decode()

    def stream(self, path: str, protocol: str) -> websocket.WebSocket:
        """A WebSocket to a subresource, for the caller to close. Raises ApiError where the server says no."""
        said = self._settings
        checked = {} if said.verify_ssl else {"cert_reqs": ssl.CERT_NONE, "check_hostname": False}
        known = {"ca_certs": said.ssl_ca_cert, "certfile": said.cert_file, "keyfile": said.key_file}
        try:
            return websocket.create_connection(
                f"ws{self.url.removeprefix('http')}{path}",
                header={"User-Agent": AGENT, **self._credentials()},
                subprotocols=[protocol],
                sslopt={**{name: text for name, text in known.items() if text}, **checked},
                timeout=_CONNECT,
                enable_multithread=True,
            )
        except websocket.WebSocketBadStatusException as error:
            raise _refusal(error.status_code, error.resp_body or b"") from error
        except (websocket.WebSocketException, OSError) as error:
            raise self._unreachable(error) from error

    def logs(self, key: Key, wish: LogWish) -> Iterator[bytes]:
        """A container's log in pieces as they come. Raises NotFound, BadRequest before the first piece."""
        request = _Request("GET", _path(POD, key.namespace, key.name, "log"), wish.query())
        return self._pieces(self._open(request, quiet=None if wish.follow else self._patience))

    def _pieces(self, response: BaseHTTPResponse) -> Iterator[bytes]:
        try:
            yield from response.stream(64 * 1024)
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from error
        finally:
            response.close()

    def _ask(self, request: "_Request") -> Obj:
        """The answer to a request that is answered in one piece."""
        response = self._send(request, self._patience)
        try:
            content = response.read()
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from error
        finally:
            response.release_conn()
        return _read(response.status, content)

    def _open(self, request: "_Request", quiet: float | None) -> BaseHTTPResponse:
        """The answer to a request that is answered bit by bit; `quiet`: the longest silence, in seconds."""
        response = self._send(request, quiet)
        if response.status >= 300:
            content = response.read()
            response.release_conn()
            _read(response.status, content)
        return response

    def _send(self, request: "_Request", quiet: float | None) -> BaseHTTPResponse:
        query = f"?{urlencode(request.query)}" if request.query else ""
        content = {"Content-Type": request.content_type} if request.body is not None else {}
        try:
            return self._pool.request(
                request.method,
                f"{self.url}{request.path}{query}",
                body=orjson.dumps(request.body) if request.body is not None else None,
                headers={"User-Agent": AGENT, "Accept": request.accept, **self._credentials(), **content},
                timeout=urllib3.Timeout(connect=_CONNECT, read=quiet),
                retries=_ONCE,
                redirect=False,
                preload_content=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from error

    def _credentials(self) -> dict[str, str]:
        """Read anew now and then, for tokens change; each time costs as much as half a request."""
        asked, known = self._known
        now = time.monotonic()
        if now - asked > _TOKEN_KEPT:
            token = self._settings.get_api_key_with_prefix("BearerToken", alias="authorization")
            known = {"Authorization": token} if token else {}
            self._known = (now, known)
        return known

    def _unreachable(self, error: Exception) -> ServerError:
        cause = getattr(error, "reason", None) or error
        inner = getattr(cause, "__cause__", None) or cause
        said = (inner.strerror if isinstance(inner, OSError) else "") or cause
        return ServerError(f"no answer from the API server at {self.url}: {said}; is it running?")


class HttpWatch:
    """A watch over an open connection."""

    def __init__(self, response: BaseHTTPResponse) -> None:
        self._response = response
        self._lock = threading.Lock()
        self._closed = False
        self._read = False
        """Whether somebody reads, who gives the connection back."""

    def __iter__(self) -> Iterator[Change]:
        """Changes until it is closed or the server ends it. Raises Expired when the server has moved on."""
        with self._lock:
            self._read = True
        rest = b""
        try:
            for piece in self._response.stream(256 * 1024):
                *lines, rest = (rest + piece).split(b"\n")
                yield from (_change(line) for line in lines if line)
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError):
            # A cut connection ends a watch as the server's own end does; whoever holds it begins anew.
            return
        finally:
            self._response.close()

    def close(self) -> None:
        """End the iteration, from any thread, at once."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if not self._read:
                self._response.close()
                return
            with suppress(ValueError, RuntimeError, OSError):
                self._response.shutdown()


def _change(line: bytes) -> Change:
    event = orjson.loads(line)
    if event["type"] != "ERROR":
        return Change(event["type"], event["object"])
    error = api_error(event["object"])
    raise Expired(str(error)) if error.code == Expired.code else error


def _read(code: int, content: bytes) -> Obj:
    found = _said(content)
    if code >= 300 or not isinstance(found, dict):
        raise _refusal(code, content)
    return found


def _refusal(code: int, content: bytes) -> ApiError:
    found = _said(content)
    return api_error(found if isinstance(found, dict) else {}, code)


def _said(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return {"message": content[:500].decode(errors="replace")}


def _path(kind: Kind, namespace: str, name: str = "", subresource: str = "") -> str:
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    place = ("namespaces", namespace) if kind.namespaced and namespace else ()
    return "/".join(
        [root, *(quote(part, safe="") for part in (*place, kind.plural, name, subresource) if part)]
    )


def _query(selection: Selection) -> dict[str, str]:
    asked = {"labelSelector": selection.labels, "fieldSelector": selection.fields}
    return {name: value for name, value in asked.items() if value}


def _named(kind: Kind, obj: Obj) -> Obj:
    return {**obj, "apiVersion": kind.api_version, "kind": kind.kind}


def _options(deletion: Deletion) -> Obj:
    held = {"uid": deletion.uid, "resourceVersion": deletion.resource_version}
    held = {name: value for name, value in held.items() if value}
    return {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": deletion.propagation,
        **({"preconditions": held} if held else {}),
        **({"gracePeriodSeconds": deletion.grace} if deletion.grace is not None else {}),
    }
