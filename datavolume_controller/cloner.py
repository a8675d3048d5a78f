"""What a copy between two claims needs beside them: the pod that serves the source, and the keys of this one copy."""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from datavolume_controller.importer import verbosity
from diskyard.api import meta
from diskyard.api import pod as pods
from diskyard.api.config import Config
from diskyard.api.meta import CLAIM, SECRET, Obj
from diskyard.api.names import cdi, clone, derived
from diskyard.api.storage import Claim
from diskyard.errors import AlreadyExists
from diskyard.kube.client import Client
from diskyard.web import issue
from diskyard.web.issue import Life

LIFE: Final = timedelta(days=30)
"""Longer than any copy takes; the keys are gone with it."""


def name(stand_in: Claim) -> str:
    """Of the pod and its keys."""
    return derived.cloner_pod(stand_in.uid)


def pod(stand_in_obj: Obj, stand_in: Claim, source: Claim, config: Config) -> Obj:
    """The pod that reads the source, and may not write to it."""
    volume = pods.claim_volume(clone.SOURCE_VOLUME, source.key.name)
    if not source.block:
        volume["persistentVolumeClaim"]["readOnly"] = True
    worker = pods.Worker(
        container=clone.CONTAINER,
        command=clone.COMMAND,
        env=verbosity(config),
        mounts=(
            *(() if source.block else ((clone.SOURCE_VOLUME, clone.SOURCE_DIR),)),
            (clone.KEYS_VOLUME, clone.KEYS_DIR),
        ),
        devices=((clone.SOURCE_VOLUME, cdi.BLOCK_DEVICE),) if source.block else (),
        volumes=(volume, {"name": clone.KEYS_VOLUME, "secret": {"secretName": name(stand_in)}}),
        ports={"clone": clone.PORT},
        resources=config.resources,
        pull_policy=config.pull_policy,
        restart_policy="Always",
        grace=1,
    )
    spec: Obj = {"priorityClassName": stand_in.annotations.get(cdi.POD_PRIORITY, ""), **config.pod_spec}
    return pods.pod(
        worker, _metadata(stand_in_obj, stand_in), **{key: each for key, each in spec.items() if each}
    )


@dataclass(frozen=True)
class Keys:
    """Make the keys of one copy: an authority that signs its two ends and is forgotten then."""

    stand_in_obj: Obj
    stand_in: Claim

    def carry_out(self, client: Client) -> None:
        """Make them, once."""
        life = Life(datetime.now(UTC), LIFE)
        authority = issue.authority(name(self.stand_in), life)
        server = issue.server(authority, [clone.HOST], life)
        reader = issue.client(authority, clone.CLIENT, life)
        entries = {
            clone.AUTHORITY_ENTRY: authority.certificate,
            **dict(zip(clone.SERVER_ENTRIES, (server.certificate, server.key), strict=True)),
            **dict(zip(clone.CLIENT_ENTRIES, (reader.certificate, reader.key), strict=True)),
        }
        obj = {
            "apiVersion": SECRET.api_version,
            "kind": SECRET.kind,
            "metadata": _metadata(self.stand_in_obj, self.stand_in) | {"annotations": {}},
            "type": "Opaque",
            "data": {entry: base64.b64encode(text).decode() for entry, text in entries.items()},
        }
        try:
            client.create(SECRET, obj)
        except AlreadyExists:
            return


def _metadata(stand_in_obj: Obj, stand_in: Claim) -> Obj:
    said = stand_in.annotations
    passed = {key: said[key] for key in (*cdi.POD_ANNOTATIONS, clone.EVENTS_SOURCE) if key in said}
    return {
        "name": name(stand_in),
        "namespace": stand_in.key.namespace,
        "labels": {
            cdi.APP_LABEL: cdi.APP,
            cdi.COMPONENT_LABEL: clone.COMPONENT,
            clone.OWNED_BY: stand_in.labels.get(clone.OWNED_BY, ""),
            cdi.MANAGED_BY_LABEL: cdi.MANAGED_BY,
            cdi.COMPONENT_OF_LABEL: cdi.STORAGE,
        },
        "annotations": {**cdi.MESH_DEFAULTS, **passed},
        "ownerReferences": [meta.owner_reference(CLAIM, stand_in_obj)],
    }
