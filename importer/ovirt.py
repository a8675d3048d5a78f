"""oVirt's engine: it opens a disk for reading at one of its hosts, and closes it again.

After the oVirt Engine API (imagetransfers, version 4) in JSON: https://ovirt.github.io/ovirt-engine-api-model/4.4/.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from threading import Event, Lock, Thread
from typing import Any, Final
from urllib.parse import quote, urlencode, urlunsplit

from diskyard.errors import AccessDenied, DiskyardError, InvalidRequest, SourceMissing, SourceUnavailable
from diskyard.log import logger
from importer.request import Access, Client, Request, shown
from importer.url import parsed

READY_WITHIN: Final = 300
"""Times that the engine is asked, a second apart, whether a transfer has begun."""
RENEWED_EVERY: Final = 30.0
"""Seconds between two requests to keep a transfer open; the engine ends one that is idle for 60 (its default)."""
ENDING_TRIES: Final = 10
ENDING_PAUSE: Final = 2.0
_LONGEST_ANSWER: Final = 16 << 20
"""A storage domain lists all of its snapshots at once."""
_API: Final = "/ovirt-engine/api"
_SSO: Final = "/ovirt-engine/sso/oauth/token"
_LOGOUT: Final = "/ovirt-engine/services/sso-logout"
_JSON: Final = {"Accept": "application/json", "Content-Type": "application/json", "Version": "4"}
_FORM: Final = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
_BEGINNING: Final = frozenset({"initializing", "resuming"})
_DONE: Final = range(200, 300)
_SIZE: Final = re.compile(r"[0-9]{1,18}")
_REASONS: Final = ("detail", "error_description", "error", "reason")
"""Where the engine says why not, and where its single sign-on does."""

log = logger("ovirt")
Json = dict[str, Any]
Pause = Callable[[float], None]


@dataclass(frozen=True)
class Ticket:
    """Where a disk's bytes are for as long as a transfer is open."""

    urls: tuple[str, ...]
    """At the host itself; through the engine's proxy."""
    size: int
    """Bytes of the disk, as the engine knows it; 0 where only the host does."""
    public: bool
    """Whether a public server has given this: what it leads to must be public too."""


class Engine:
    """A login at an engine. Its calls may come from two threads."""

    def __init__(
        self, url: str, access: Access, pause: Pause = time.sleep, renewed_every: float = RENEWED_EVERY
    ) -> None:
        """Log in, as the user that `access` names. Raises AccessDenied, SourceUnavailable, InvalidRequest."""
        parts = parsed(url)
        self._api = url.rstrip("/") if parts.path.strip("/") else f"{url.rstrip('/')}{_API}"
        self._root = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], "", "", ""))
        self._access = access
        self._bare = replace(access, user="", password="", headers=())
        self._pause = pause
        self._renewed_every = renewed_every
        self._client = Client()
        self._lock = Lock()
        self._public = False
        with ExitStack() as refused:
            refused.callback(self._client.close)
            self._token = self._login()
            refused.pop_all()

    def close(self) -> None:
        """Log out, which may fail, and hang up."""
        with suppress(DiskyardError):
            self._form(_LOGOUT, {"scope": "ovirt-app-api", "token": self._token})
        self._client.close()

    @contextmanager
    def transfer(self, disk: str, snapshot: str = "", *, alone: bool = False) -> Iterator[Ticket]:
        """A disk that is open for reading, renewed for as long as it takes, finalized or (after an error) cancelled.

        With `snapshot`: as it was then; `alone`: only that one layer, as the qcow2 image that it is.
        Raises SourceMissing, InvalidRequest, AccessDenied, SourceUnavailable (it is locked, or does not get ready).
        """
        facts = self._disk(disk)
        what = self._snapshot(facts, snapshot) if snapshot else {"disk": {"id": disk}}
        asked = {**what, "direction": "download", "format": "cow" if alone else "raw"}
        begun = self._asked("POST", "/imagetransfers", asked)
        path = f"/imagetransfers/{quote(str(begun.get('id', '')), safe='')}"
        ending = "cancel"
        try:
            ready = self._ready(path, begun)
            with _renewing(lambda: self._asked("POST", f"{path}/extend", {}), self._renewed_every):
                size = 0 if alone else _whole(facts.get("provisioned_size"))
                yield Ticket(_urls(ready), size, self._public)
            ending = "finalize"
        finally:
            self._end(f"{path}/{ending}")

    def _login(self) -> str:
        credentials = {"username": self._access.user, "password": self._access.password}
        grant = {"grant_type": "password", "scope": "ovirt-app-api"}
        try:
            said = self._form(_SSO, grant | credentials)
        except AccessDenied as error:
            raise AccessDenied(
                f"{shown(self._root)} refuses the login of {self._access.user!r}: {error}. Correct the secret "
                "(secretRef): accessKeyId is a user with its domain (admin@internal), secretKey the password"
            ) from error
        token = said.get("access_token")
        if not isinstance(token, str) or not token:
            raise AccessDenied(
                f"{shown(self._root)} refuses the login of {self._access.user!r}: "
                f"{said.get('error') or 'it gives no token'}. Correct the secret (secretRef)"
            )
        return token

    def _disk(self, disk: str) -> Json:
        if not disk:
            raise InvalidRequest("an imageio source needs diskId")
        try:
            facts = self._asked("GET", f"/disks/{quote(disk, safe='')}")
        except SourceMissing as error:
            raise SourceMissing(f"{shown(self._root)} has no disk {disk}: correct diskId") from error
        status = facts.get("status", "ok")
        if status != "ok":
            raise SourceUnavailable(
                f"expected disk {disk} to be ok, found it {status}: another job uses it, it is tried again"
            )
        return facts

    def _snapshot(self, disk: Json, snapshot: str) -> Json:
        """What a transfer names to read a disk as it was at a snapshot; the disk's active layer is one of its own."""
        domains = (disk.get("storage_domains") or {}).get("storage_domain") or ()
        for domain in domains:
            place = quote(str(domain.get("id", "")), safe="")
            found = self._asked("GET", f"/storagedomains/{place}/disksnapshots").get("disk_snapshot") or ()
            if any(each.get("id") == snapshot for each in found):
                return {"snapshot": {"id": snapshot}}
        if disk.get("image_id") == snapshot:
            return {"disk": {"id": disk.get("id")}}
        raise SourceMissing(
            f"disk {disk.get('id')} has no snapshot {snapshot}, and its active image is {disk.get('image_id')}: "
            "correct spec.checkpoints"
        )

    def _ready(self, path: str, transfer: Json) -> Json:
        """The transfer once it has begun."""
        for _ in range(READY_WITHIN):
            phase = str(transfer.get("phase", "unknown"))
            if phase == "transferring":
                return transfer
            if phase not in _BEGINNING:
                raise SourceUnavailable(
                    f"expected the image transfer to begin, found it {phase}: the engine's events say why"
                )
            self._pause(1.0)
            transfer = self._asked("GET", path)
        raise SourceUnavailable(f"the image transfer has not begun within {READY_WITHIN} seconds")

    def _end(self, path: str) -> None:
        """Close a transfer; one that cannot be closed ends by itself when it has been idle."""
        for _ in range(ENDING_TRIES):
            try:
                self._asked("POST", path, {})
            except SourceMissing:
                return
            except DiskyardError as error:
                log.warning("cannot close the image transfer, asking again", path=path, because=error)
                self._pause(ENDING_PAUSE)
            else:
                return

    def _asked(self, method: str, path: str, said: Json | None = None) -> Json:
        """The answer of the API; a login that has expired is made anew."""
        body = b"" if said is None else json.dumps(said).encode()
        with self._lock:
            try:
                return self._answer(f"{self._api}{path}", Request(method, self._signed(), body))
            except AccessDenied:
                self._token = self._login()
                return self._answer(f"{self._api}{path}", Request(method, self._signed(), body))

    def _signed(self) -> dict[str, str]:
        return _JSON | {"Authorization": f"Bearer {self._token}"}

    def _form(self, path: str, fields: dict[str, str]) -> Json:
        request = Request("POST", _FORM, urlencode(fields).encode())
        return self._answer(f"{self._root}{path}", request, AccessDenied)  # 400 to a wrong password

    def _answer(self, url: str, request: Request, refusal: type[DiskyardError] = InvalidRequest) -> Json:
        with closing(self._client.ask(url, self._bare, request, (*_DONE, 400, 409))) as answer:
            self._public = answer.public
            text = answer.read(_LONGEST_ANSWER)
        said = _object(text)
        if answer.status in _DONE:
            return said
        reason = next((said[name] for name in _REASONS if said.get(name)), "without a reason")
        if answer.status == 409:
            raise SourceUnavailable(f"{shown(url)} cannot do that now: {reason}. It is tried again")
        raise refusal(f"{shown(url)} refuses {request.method}: {reason}")


@contextmanager
def _renewing(renew: Callable[[], object], every: float) -> Iterator[None]:
    """Time and again, in a thread of its own; what fails is tried again the next time."""
    done = Event()

    def run() -> None:
        while not done.wait(every):
            try:
                renew()
            except DiskyardError as error:
                log.warning("cannot renew the image transfer", because=error)

    thread = Thread(target=run, name="renewal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _urls(transfer: Json) -> tuple[str, ...]:
    urls = tuple(str(transfer[name]) for name in ("transfer_url", "proxy_url") if transfer.get(name))
    if not urls:
        raise SourceUnavailable("the engine says of the image transfer neither transfer_url nor proxy_url")
    return urls


def _object(text: bytes) -> Json:
    try:
        said = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {"reason": "it answered with something else than JSON"}
    return said if isinstance(said, dict) else {}


def _whole(number: object) -> int:
    return int(number) if isinstance(number, int | str) and _SIZE.fullmatch(str(number)) else 0
