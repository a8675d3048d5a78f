"""What an upload server is asked to do: all that its controller and it share but for how it ends (`job.py`)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from diskyard.api.job import ImportJob
from diskyard.api.meta import Obj
from diskyard.api.names import cdi, upload
from diskyard.errors import InvalidRequest

IDLE: Final = 60.0
"""Seconds without a byte after which a request is given up."""
EXPIRY: Final = 24 * 3600.0
"""Seconds for which an upload that nobody goes on with is kept."""


@dataclass(frozen=True)
class UploadJob:
    """Take one image in, for the volume at /data or for the block device."""

    image_size: str = ""
    overhead: str = "0"
    preallocation: bool = False
    content_type: str = "kubevirt"
    owner_uid: str = ""
    client_name: str = upload.CLIENT_NAME
    """Who may come in: the common name of the client's certificate."""
    folder: str = upload.TLS_DIR
    """Where `tls.key`, `tls.crt` and `ca.crt` are; the last one signs clients."""
    deadline: str = ""
    """When to end, unless an upload is under way: RFC 3339. Another server with fresh certificates follows."""
    address: str = ""
    port: int = upload.PORT
    idle: float = IDLE
    expiry: float = EXPIRY
    tls: Obj = field(default_factory=dict)
    """The tlsSecurityProfile of CDIConfig."""

    @property
    def archive(self) -> bool:
        """Whether files are unpacked, and no disk is made."""
        return self.content_type == "archive"

    @property
    def volume(self) -> ImportJob:
        """The same volume as an importer would be told of it."""
        return ImportJob(
            source=upload.SYNC,
            image_size=self.image_size,
            overhead=self.overhead,
            preallocation=self.preallocation,
            content_type=self.content_type,
        )

    def to_env(self) -> dict[str, str]:
        """The environment that says this; what is empty is left out."""
        files = Path(self.folder)
        env = {
            upload.ENV_IMAGE_SIZE: self.image_size,
            cdi.ENV_OVERHEAD: self.overhead,
            cdi.ENV_PREALLOCATION: "true" if self.preallocation else "false",
            upload.ENV_CONTENT_TYPE: self.content_type,
            cdi.ENV_OWNER_UID: self.owner_uid,
            upload.ENV_CLIENT_NAME: self.client_name,
            upload.ENV_KEY: str(files / "tls.key"),
            upload.ENV_CERT: str(files / "tls.crt"),
            upload.ENV_CLIENT_CERT: str(files / "ca.crt"),
            upload.ENV_DEADLINE: self.deadline,
            upload.ENV_TLS_PROFILE: json.dumps(self.tls) if self.tls else "",
            upload.ENV_IDLE: f"{self.idle:g}" if self.idle != IDLE else "",
            upload.ENV_EXPIRY: f"{self.expiry:g}" if self.expiry != EXPIRY else "",
        }
        return {key: text for key, text in env.items() if text}

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "UploadJob":
        """The job that an environment says. Raises InvalidRequest."""
        return cls(
            image_size=env.get(upload.ENV_IMAGE_SIZE, ""),
            overhead=env.get(cdi.ENV_OVERHEAD, "0"),
            preallocation=env.get(cdi.ENV_PREALLOCATION, "false").lower() == "true",
            content_type=env.get(upload.ENV_CONTENT_TYPE, "kubevirt"),
            owner_uid=env.get(cdi.ENV_OWNER_UID, ""),
            client_name=env.get(upload.ENV_CLIENT_NAME, upload.CLIENT_NAME),
            folder=str(Path(env.get(upload.ENV_KEY, f"{upload.TLS_DIR}/tls.key")).parent),
            deadline=_time(env.get(upload.ENV_DEADLINE, "")),
            address=env.get(upload.ENV_ADDRESS) or env.get(cdi.ENV_POD_IP) or "0.0.0.0",
            port=int(_seconds(env, upload.ENV_PORT, upload.PORT)),
            idle=_seconds(env, upload.ENV_IDLE, IDLE),
            expiry=_seconds(env, upload.ENV_EXPIRY, EXPIRY),
            tls=_profile(env.get(upload.ENV_TLS_PROFILE, "")),
        )


def _profile(text: str) -> Obj:
    try:
        said = json.loads(text or "{}")
    except ValueError as error:
        raise InvalidRequest(f"{upload.ENV_TLS_PROFILE}: expected JSON: {error}") from error
    return said if isinstance(said, dict) else {}


def _seconds(env: Mapping[str, str], name: str, otherwise: float) -> float:
    text = env.get(name) or str(otherwise)
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if found < 0:
        raise InvalidRequest(f"{name}: expected a number that is not negative, found {text!r}")
    return found


def _time(text: str) -> str:
    try:
        if text:
            datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidRequest(
            f"{upload.ENV_DEADLINE}: expected a time such as 2026-11-21T12:00:00Z, found {text!r}"
        ) from error
    return text
