"""What a worker is asked to do, and what it says when it ends: all that controllers and workers share.

A job crosses as environment variables (the names of CDI's importer, so that its manifests and tools fit),
the end as the container's termination message.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, Final

from diskyard.api.names import cdi, kubevirt
from diskyard.api.written import mapping
from diskyard.errors import InvalidRequest

MESSAGE_LIMIT: Final = 4096
"""Bytes of a termination message that Kubernetes keeps."""
BLANK: Final = "none"
LARGEST: Final = (1 << 63) - 1
"""What a whole number of the wire can be at most."""
PLUGS: Final = 256
"""Volumes that a report speaks of at most."""


@dataclass(frozen=True)
class ImportJob:
    """Fill the volume at /data (or the block device) from `endpoint`."""

    source: str
    """`http`, `s3`, `gcs`, `registry`, or `none` for a blank disk."""
    endpoint: str = ""
    image_size: str = ""
    """The claim's request as a quantity; the disk is grown to what of it is usable."""
    owner_uid: str = ""
    overhead: str = "0"
    """Fraction of a file system that its own structures take; 0 for block devices."""
    content_type: str = "kubevirt"
    checksum: str = ""
    checksum_url: str = ""
    """Of a SHA256SUMS file that has the image's line; instead of `checksum`."""
    digest: str = ""
    """Algorithm of a digest that is to be said where none is promised; from the command line only."""
    signature_url: str = ""
    """Of that file's detached signature."""
    keyring: str = ""
    """The path of the public keys that may have signed it."""
    preallocation: bool = False
    insecure_tls: bool = False
    cert_dir: str = ""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    """Of S3: belongs to the keys."""
    credentials_file: str = ""
    """Of GCS: a service account's key."""
    region: str = ""
    """Of S3, where neither the endpoint nor the server says the right one."""
    anonymous: bool = False
    """Use no credentials, whatever the environment has."""
    extra_headers: tuple[str, ...] = field(default=(), repr=False)
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""
    allow_addresses: str = ""
    """Networks, comma-separated, that may be connected to although they usually are refused."""
    pull_method: str = ""
    """Of a registry: `pod`, or `node`."""
    architecture: str = ""
    """Of the image in a registry that has several; as they call it: amd64, arm64."""
    image_path: str = ""
    """Of the disk in such an image, absolute; empty: the one file below `/disk`."""
    auth_file: str = ""
    """A pull secret: the path of a file as `docker login` writes it."""
    registry_mirrors: tuple[str, ...] = ()
    """`REGISTRY=HOST[:PORT][/PREFIX]`, asked in this order before the registry itself."""
    insecure_registries: tuple[str, ...] = ()
    """Hosts whose certificates are not checked, and that may speak plain HTTP."""
    disk_id: str = ""
    """Of a disk in oVirt."""
    uuid: str = ""
    """Of a virtual machine in vSphere: its instance UUID, or its BIOS UUID."""
    backing_file: str = ""
    """Of that machine: `[datastore] folder/disk.vmdk`."""
    thumbprint: str = ""
    """Of the vSphere server's certificate: SHA-1, pairs of hex digits with colons."""
    vddk_dir: str = cdi.VDDK_DIR
    """Where VMware's library is."""
    checkpoint: str = ""
    """The stage of a multi-stage import: the snapshot to be read; empty for a whole one."""
    previous: str = ""
    """The stage that the disk holds already: only what has changed since is read; empty for a stage of everything."""
    final: bool = False
    """Whether no stage follows."""
    journal: str = ""
    """Of a block device: what an earlier importer, whose pod is lost, has reported of it."""

    def to_env(self) -> dict[str, str]:
        """The environment that says this; what is empty is left out. Secrets are not in it: see `pod.py`."""
        env = {
            cdi.ENV_SOURCE: self.source,
            cdi.ENV_ENDPOINT: self.endpoint,
            cdi.ENV_CONTENT_TYPE: self.content_type,
            cdi.ENV_IMAGE_SIZE: self.image_size,
            cdi.ENV_OWNER_UID: self.owner_uid,
            cdi.ENV_OVERHEAD: self.overhead,
            cdi.ENV_INSECURE: _flag(self.insecure_tls),
            cdi.ENV_PREALLOCATION: _flag(self.preallocation),
            cdi.ENV_CHECKSUM: self.checksum,
            cdi.ENV_CHECKSUM_URL: self.checksum_url,
            cdi.ENV_SIGNATURE_URL: self.signature_url,
            cdi.ENV_KEYRING: self.keyring,
            cdi.ENV_CERT_DIR: self.cert_dir,
            cdi.ENV_GOOGLE_CREDENTIALS: self.credentials_file,
            cdi.ENV_REGION: self.region,
            cdi.ENV_ANONYMOUS: _flag(self.anonymous) if self.anonymous else "",
            cdi.ENV_HTTP_PROXY: self.http_proxy,
            cdi.ENV_HTTPS_PROXY: self.https_proxy,
            cdi.ENV_NO_PROXY: self.no_proxy,
            cdi.ENV_ALLOW_ADDRESSES: self.allow_addresses,
            cdi.ENV_PULL_METHOD: self.pull_method,
            cdi.ENV_ARCHITECTURE: self.architecture,
            cdi.ENV_IMAGE_PATH: self.image_path,
            cdi.ENV_AUTH_FILE: self.auth_file,
            cdi.ENV_REGISTRY_MIRRORS: ",".join(self.registry_mirrors),
            cdi.ENV_INSECURE_REGISTRIES: ",".join(self.insecure_registries),
            cdi.ENV_DISK_ID: self.disk_id,
            cdi.ENV_UUID: self.uuid,
            cdi.ENV_BACKING_FILE: self.backing_file,
            cdi.ENV_THUMBPRINT: self.thumbprint,
            cdi.ENV_VDDK_DIR: self.vddk_dir if self.vddk_dir != cdi.VDDK_DIR else "",
            cdi.ENV_CHECKPOINT: self.checkpoint,
            cdi.ENV_PREVIOUS: self.previous,
            cdi.ENV_FINAL: _flag(self.final) if self.checkpoint else "",
            cdi.ENV_JOURNAL: self.journal,
        }
        headers = {f"{cdi.ENV_EXTRA_HEADER}{n}": line for n, line in enumerate(self.extra_headers)}
        return {key: text for key, text in (env | headers).items() if text}

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "ImportJob":
        """The job that an environment says. Raises InvalidRequest."""
        headers = sorted(
            (int(key.removeprefix(cdi.ENV_EXTRA_HEADER)), line)
            for key, line in env.items()
            if key.startswith(cdi.ENV_EXTRA_HEADER) and key.removeprefix(cdi.ENV_EXTRA_HEADER).isdigit()
        )
        return cls(
            source=env.get(cdi.ENV_SOURCE, "http"),
            endpoint=env.get(cdi.ENV_ENDPOINT, ""),
            image_size=env.get(cdi.ENV_IMAGE_SIZE, ""),
            owner_uid=env.get(cdi.ENV_OWNER_UID, ""),
            overhead=env.get(cdi.ENV_OVERHEAD, "0"),
            content_type=env.get(cdi.ENV_CONTENT_TYPE, "kubevirt"),
            checksum=env.get(cdi.ENV_CHECKSUM, ""),
            checksum_url=env.get(cdi.ENV_CHECKSUM_URL, ""),
            signature_url=env.get(cdi.ENV_SIGNATURE_URL, ""),
            keyring=env.get(cdi.ENV_KEYRING, ""),
            preallocation=_truth(env, cdi.ENV_PREALLOCATION),
            insecure_tls=_truth(env, cdi.ENV_INSECURE),
            cert_dir=env.get(cdi.ENV_CERT_DIR, ""),
            access_key=env.get(cdi.ENV_ACCESS_KEY, ""),
            secret_key=env.get(cdi.ENV_SECRET_KEY, ""),
            session_token=env.get(cdi.ENV_SESSION_TOKEN, ""),
            credentials_file=env.get(cdi.ENV_GOOGLE_CREDENTIALS, ""),
            region=env.get(cdi.ENV_REGION, ""),
            anonymous=_truth(env, cdi.ENV_ANONYMOUS),
            extra_headers=tuple(line for _, line in headers),
            http_proxy=env.get(cdi.ENV_HTTP_PROXY, ""),
            https_proxy=env.get(cdi.ENV_HTTPS_PROXY, ""),
            no_proxy=env.get(cdi.ENV_NO_PROXY, ""),
            allow_addresses=env.get(cdi.ENV_ALLOW_ADDRESSES, ""),
            pull_method=env.get(cdi.ENV_PULL_METHOD, ""),
            architecture=env.get(cdi.ENV_ARCHITECTURE, ""),
            image_path=env.get(cdi.ENV_IMAGE_PATH, ""),
            auth_file=env.get(cdi.ENV_AUTH_FILE, ""),
            registry_mirrors=_list(env.get(cdi.ENV_REGISTRY_MIRRORS, "")),
            insecure_registries=_list(env.get(cdi.ENV_INSECURE_REGISTRIES, "")),
            disk_id=env.get(cdi.ENV_DISK_ID, ""),
            uuid=env.get(cdi.ENV_UUID, ""),
            backing_file=env.get(cdi.ENV_BACKING_FILE, ""),
            thumbprint=env.get(cdi.ENV_THUMBPRINT, ""),
            vddk_dir=env.get(cdi.ENV_VDDK_DIR, cdi.VDDK_DIR),
            checkpoint=env.get(cdi.ENV_CHECKPOINT, ""),
            previous=env.get(cdi.ENV_PREVIOUS, ""),
            final=_truth(env, cdi.ENV_FINAL),
            journal=env.get(cdi.ENV_JOURNAL, ""),
        )


@dataclass(frozen=True)
class LaunchJob:
    """Run one life of an instance; what it is made of stands in the file that the node's agent keeps current."""

    namespace: str
    name: str
    uid: str
    accelerated: bool = False
    """By KVM; otherwise by software emulation."""
    awaits: str = ""
    """What its console is to say; empty: nobody waits for anything."""

    def to_env(self) -> dict[str, str]:
        """The environment that says this."""
        return {
            kubevirt.ENV_NAMESPACE: self.namespace,
            kubevirt.ENV_NAME: self.name,
            kubevirt.ENV_UID: self.uid,
            kubevirt.ENV_ACCELERATED: _flag(self.accelerated),
            **({kubevirt.ENV_AWAITS: self.awaits} if self.awaits else {}),
        }

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "LaunchJob":
        """The job that an environment says. Raises InvalidRequest."""
        wanted = (kubevirt.ENV_NAMESPACE, kubevirt.ENV_NAME, kubevirt.ENV_UID)
        missing = [name for name in wanted if not env.get(name)]
        if missing:
            raise InvalidRequest(f"a launcher needs {', '.join(missing)} in its environment")
        namespace, name, uid = (env[name] for name in wanted)
        return cls(
            namespace, name, uid, _truth(env, kubevirt.ENV_ACCELERATED), env.get(kubevirt.ENV_AWAITS, "")
        )


@dataclass(frozen=True)
class Report:
    """What a launcher says of its guest while it runs; one line of JSON on its control socket."""

    state: str
    """`Preparing`, `Running`, `Paused`, `ShuttingDown`, or the last one: `Off`."""
    reason: str = ""
    """CamelCase: why it is paused or off."""
    message: str = ""
    since: str = ""
    """When the state began, RFC 3339."""
    agent: bool = False
    """Whether the agent inside the guest answers."""
    said: bool = False
    """Whether its console has said what was awaited."""
    tail: str = ""
    """What the console said last, while something is awaited."""
    plugged: Mapping[str, str] = field(default_factory=dict)
    """Volume -> target of what has come since it started."""
    troubles: Mapping[str, str] = field(default_factory=dict)
    """Volume -> why it could not come."""
    boots: Mapping[str, str] = field(default_factory=dict)
    """What it begins with out of a container image (`kernel`, `initrd`) -> its CRC-32, as a number."""
    small: Mapping[str, str] = field(default_factory=dict)
    """Volume -> why its disk is smaller than its claim promises, which is borne."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Volume -> bytes of its disk as the guest has it, of those that grow with their claims."""

    def to_text(self) -> str:
        """JSON without line breaks; what is empty is left out."""
        return json.dumps({key: value for key, value in asdict(self).items() if value})

    @classmethod
    def from_text(cls, text: str | bytes) -> "Report | None":
        """What a line says; None: nothing that we understand."""
        said = mapping(text)
        if said is None or not isinstance(said.get("state"), str):
            return None
        names = ("state", "reason", "message", "since", "tail")
        texts = {name: str(said.get(name) or "")[:1024] for name in names}
        return cls(
            **texts,
            agent=said.get("agent") is True,
            said=said.get("said") is True,
            plugged=_named(said.get("plugged")),
            troubles=_named(said.get("troubles")),
            small=_named(said.get("small")),
            boots=_named(said.get("boots")),
            sizes=_counted(said.get("sizes")),
        )


@dataclass(frozen=True)
class Vddk:
    """What VMware's library said of itself, and which host it has read from."""

    version: str = ""
    host: str = ""


@dataclass(frozen=True)
class TerminationMessage:
    """How a worker ended. Success keeps CDI's shape; a failure says its reason and whether to retry."""

    message: str
    reason: str = ""
    """CamelCase class of the failure; empty on success."""
    fatal: bool = False
    """No retry helps."""
    preallocation_applied: bool = False
    bytes_fetched: int = 0
    bytes_written: int = 0
    digest: str = ""
    vddk: Vddk | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    """For the claim."""
    journal: str = ""
    """Of a block device that is not complete: for the next worker, which may have another pod."""
    phase: str = ""
    """Of a failure: what was being done."""
    said: bool = False
    """Of a guest whose console was listened to: whether it said what was awaited."""
    tail: str = ""
    """What it said last."""

    def to_text(self) -> str:
        """JSON of at most MESSAGE_LIMIT bytes; a long message is cut in its middle."""
        text = self._json(self.message)
        over = len(text.encode()) - MESSAGE_LIMIT
        if over > 0:
            keep = max(0, len(self.message) - over - 40) // 2
            text = self._json(f"{self.message[:keep]} [...] {self.message[-keep:] if keep else ''}")
        return text if len(text.encode()) <= MESSAGE_LIMIT else self._json("the message was too long to keep")

    def _json(self, message: str) -> str:
        said: dict[str, Any] = {
            "preallocationApplied": self.preallocation_applied,
            "reason": self.reason,
            "fatal": self.fatal,
            "phase": self.phase,
            "bytesFetched": self.bytes_fetched,
            "bytesWritten": self.bytes_written,
            "digest": self.digest,
            "vddkInfo": {"Version": self.vddk.version, "Host": self.vddk.host} if self.vddk else None,
            "labels": dict(self.labels),
            "journal": self.journal,
            "said": self.said,
            "tail": self.tail,
        }
        return json.dumps({key: text for key, text in said.items() if text} | {"message": message})

    @classmethod
    def from_text(cls, text: str) -> "TerminationMessage":
        """What a termination message says; plain text (a log's end, a foreign worker) is the message itself."""
        said = mapping(text)
        if said is None:
            return cls(text.strip())
        return cls(
            message=str(said.get("message", "")),
            reason=str(said.get("reason", "")),
            fatal=said.get("fatal") is True,
            phase=str(said.get("phase", ""))[:32],
            preallocation_applied=said.get("preallocationApplied") is True,
            bytes_fetched=_whole(said.get("bytesFetched")),
            bytes_written=_whole(said.get("bytesWritten")),
            digest=str(said.get("digest", "")),
            vddk=_vddk(said.get("vddkInfo")),
            labels=_texts(said.get("labels")),
            journal=str(said.get("journal") or ""),
            said=said.get("said") is True,
            tail=str(said.get("tail") or "")[:1024],
        )


def _texts(said: object) -> dict[str, str]:
    return {str(key): str(text) for key, text in said.items()} if isinstance(said, dict) else {}


def _list(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())


def _vddk(said: object) -> Vddk | None:
    if not isinstance(said, dict):
        return None
    return Vddk(str(said.get("Version") or ""), str(said.get("Host") or ""))


def _flag(truth: bool) -> str:
    return "true" if truth else "false"


def _truth(env: Mapping[str, str], name: str) -> bool:
    text = env.get(name, "false").lower()
    if text not in ("true", "false", ""):
        raise InvalidRequest(f"{name} must be true or false, found {text!r}")
    return text == "true"


def _whole(number: object) -> int:
    return number if isinstance(number, int) and not isinstance(number, bool) and number >= 0 else 0


def _named(said: object) -> dict[str, str]:
    return {name[:63]: text[:512] for name, text in islice(_texts(said).items(), PLUGS)}


def _counted(said: object) -> dict[str, int]:
    found = said if isinstance(said, dict) else {}
    return {str(name)[:63]: min(_whole(number), LARGEST) for name, number in islice(found.items(), PLUGS)}
