"""Claim that waits for an upload -> the job, and the pod, Service and Secret of its server. Pure but for the keys."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from datavolume_controller.importer import owner_uid, verbosity
from datavolume_controller.mounts import Mount, furnished, scratch
from diskyard.api import meta
from diskyard.api import pod as pods
from diskyard.api.config import Config
from diskyard.api.meta import CLAIM, SECRET, SERVICE, Key, Obj
from diskyard.api.names import cdi, kubernetes, upload
from diskyard.api.storage import Claim
from diskyard.api.upload import UploadJob
from diskyard.errors import AlreadyExists
from diskyard.kube.client import Client
from diskyard.web import issue
from diskyard.web.issue import Life, Pem

COMMAND: Final = ("diskyard-uploadserver",)
LIFE: Final = timedelta(hours=24)
DEADLINE: Final = timedelta(hours=12)
"""After which a server ends as soon as nobody uploads: its certificate is renewed long before its end."""


def name(claim: Claim) -> str:
    """Of the pod, the Service and the Secret."""
    return upload.server_name(claim.key.name)


def job(claim: Claim, config: Config, now: datetime) -> UploadJob:
    """What the server is asked to do."""
    said = claim.annotations
    return UploadJob(
        image_size=claim.request,
        overhead=config.overhead_of(claim.storage_class, claim.block),
        preallocation=said.get(cdi.PREALLOCATION_REQUESTED) == "true",
        content_type=said.get(cdi.CONTENT_TYPE, "") or "kubevirt",
        owner_uid=owner_uid(claim),
        deadline=meta.timestamp(now + DEADLINE),
        tls=config.tls,
    )


def pod(owner: Obj, claim: Claim, config: Config, now: datetime) -> Obj:
    """The pod that takes the upload in."""
    said = claim.annotations
    env = {**job(claim, config, now).to_env(), **verbosity(config)}
    if claim.block:
        env[upload.ENV_DESTINATION] = cdi.BLOCK_DEVICE
    worker = pods.Worker(
        container=upload.CONTAINER,
        command=COMMAND,
        env=env,
        ports={"upload": upload.PORT},
        resources=config.resources,
        pull_policy=config.pull_policy,
    )
    spec: Obj = {
        "priorityClassName": said.get(cdi.POD_PRIORITY, ""),
        "serviceAccountName": said.get(cdi.POD_SERVICE_ACCOUNT, ""),
        **config.pod_spec,
    }
    beside = (scratch(), Mount(upload.TLS_VOLUME, upload.TLS_DIR, {"secret": {"secretName": name(claim)}}))
    worker = furnished(worker, claim, beside)
    made = pods.pod(worker, _metadata(owner, claim), **{key: each for key, each in spec.items() if each})
    made["spec"]["containers"][0]["readinessProbe"] = {
        "httpGet": {"path": "/healthz", "port": upload.PORT, "scheme": "HTTPS"},
        "initialDelaySeconds": 2,
        "periodSeconds": 5,
    }
    return made


def service(owner: Obj, claim: Claim) -> Obj:
    """The name by which the server is reached on a cluster: it leads to the pod itself."""
    ports = [{"name": "upload", "port": upload.PORT, "protocol": "TCP", "targetPort": upload.PORT}]
    return {
        "apiVersion": SERVICE.api_version,
        "kind": SERVICE.kind,
        "metadata": _metadata(owner, claim) | {"annotations": {}},
        "spec": {"clusterIP": "None", "selector": {upload.SERVICE_LABEL: name(claim)}, "ports": ports},
    }


@dataclass(frozen=True)
class Certify:
    """Make the Secret with the server's certificate and the authority of its clients; a fresh one where one is left."""

    owner: Obj
    claim: Claim
    signer: Pem
    clients: bytes
    now: datetime

    def carry_out(self, client: Client) -> None:
        """Make it."""
        key = self.claim.key
        made = issue.server(self.signer, hosts(key), Life(self.now, LIFE))
        obj = secret(_metadata(self.owner, self.claim) | {"annotations": {}}, made, {"ca.crt": self.clients})
        try:
            client.create(SECRET, obj)
        except AlreadyExists:
            client.patch(SECRET, Key(name(self.claim), key.namespace), {"data": obj["data"]})


def hosts(claim: Key) -> tuple[str, ...]:
    """The names in a server's certificate."""
    short = upload.server_name(claim.name)
    whole = upload.host(claim.name, claim.namespace)
    return (whole, short, f"{short}.{claim.namespace}", f"{whole}.cluster.local")


def secret(metadata: Obj, pair: Pem, more: Mapping[str, bytes] | None = None) -> Obj:
    """A Secret with a certificate and its key."""
    entries = {"tls.crt": pair.certificate, "tls.key": pair.key, **(more or {})}
    return {
        "apiVersion": SECRET.api_version,
        "kind": SECRET.kind,
        "metadata": metadata,
        "type": kubernetes.TLS_SECRET,
        "data": {key: base64.b64encode(entry).decode() for key, entry in entries.items()},
    }


def pair(obj: Obj | None) -> Pem | None:
    """The certificate and key in a Secret."""
    data = (obj or {}).get("data") or {}
    if not data.get("tls.crt") or not data.get("tls.key"):
        return None
    return Pem(base64.b64decode(data["tls.crt"]), base64.b64decode(data["tls.key"]))


def _metadata(owner: Obj, claim: Claim) -> Obj:
    passed = {key: claim.annotations[key] for key in cdi.POD_ANNOTATIONS if key in claim.annotations}
    return {
        "name": name(claim),
        "namespace": claim.key.namespace,
        "labels": {
            cdi.APP_LABEL: cdi.APP,
            cdi.COMPONENT_LABEL: upload.SERVER,
            upload.SERVICE_LABEL: name(claim),
            upload.TARGET_LABEL: claim.uid,
            cdi.MANAGED_BY_LABEL: cdi.MANAGED_BY,
            cdi.COMPONENT_OF_LABEL: cdi.STORAGE,
        },
        "annotations": {**cdi.MESH_DEFAULTS, **passed},
        "ownerReferences": [meta.owner_reference(CLAIM, owner)],
    }
