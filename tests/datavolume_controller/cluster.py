"""What surrounds the controllers, played by a test without threads: storage, nodes and the garbage collector."""

from dataclasses import dataclass

from diskyard.api import meta
from diskyard.api.meta import (
    CLAIM,
    CLONE_SOURCE,
    IMPORT_SOURCE,
    POD,
    SECRET,
    STORAGE_CLASS,
    UPLOAD_SOURCE,
    VOLUME,
    Key,
    Obj,
)
from diskyard.api.names import cdi
from diskyard.api.storage import storage_class
from diskyard.errors import NotFound
from diskyard.kube.client import Client, Deletion
from tests import builders

CHILDREN = (CLAIM, POD, SECRET, IMPORT_SOURCE, UPLOAD_SOURCE, CLONE_SOURCE)


@dataclass
class Cluster:
    """Each method does once what the real thing does all the time."""

    client: Client

    def storage(self) -> None:
        """Bind what can be bound, as Kubernetes' volume controller does; volumes of gone claims go."""
        for claim in self.client.list(CLAIM).items:
            if meta.deleting(claim):
                finalizers = {"metadata": {"finalizers": None}}
                self.client.patch(CLAIM, meta.key(claim), finalizers)
            else:
                self._bind(claim)
        uids = {meta.uid(each) for each in self.client.list(CLAIM).items}
        for volume in self.client.list(VOLUME).items:
            if meta.spec(volume)["claimRef"]["uid"] not in uids:
                self.client.delete(VOLUME, meta.key(volume))
                if meta.meta(volume).get("finalizers"):
                    self.client.patch(VOLUME, meta.key(volume), {"metadata": {"finalizers": None}})

    def collect(self) -> None:
        """Delete what belongs to something that is gone."""
        while gone := [
            (kind, meta.key(each))
            for kind in CHILDREN
            for each in self.client.list(kind).items
            if not meta.deleting(each) and self._orphan(each)
        ]:
            for kind, key in gone:
                self.client.delete(kind, key, Deletion(grace=0))
            self.storage()

    def _bind(self, claim: Obj) -> None:
        volumes = self.client.list(VOLUME).items
        given = next((v for v in volumes if meta.spec(v)["claimRef"]["uid"] == meta.uid(claim)), None)
        if meta.phase(claim) == "Bound":
            if given is None:
                self._said(claim, "Lost")
            return
        if meta.phase(claim) == "Lost":
            return
        if given is None and self._provisions(claim):
            given = builders.volume(f"pvc-{meta.uid(claim)}", claimRef=_reference(claim))
            self.client.create(VOLUME, given)
        if given is not None:
            self.client.patch(CLAIM, meta.key(claim), {"spec": {"volumeName": meta.name(given)}})
            self._said(claim, "Bound")

    def _provisions(self, claim: Obj) -> bool:
        if meta.spec(claim).get("dataSourceRef"):
            return False
        chosen = storage_class(self.client.get(STORAGE_CLASS, Key(meta.spec(claim)["storageClassName"])))
        return not chosen.waits or cdi.SELECTED_NODE in meta.annotations(claim)

    def _said(self, claim: Obj, phase: str) -> None:
        self.client.patch(CLAIM, meta.key(claim), {"status": {"phase": phase}}, "status")

    def _orphan(self, obj: Obj) -> bool:
        owner = meta.controller_of(obj)
        if owner is None:
            return False
        kinds = {each.kind: each for each in meta.KINDS}
        try:
            found = self.client.get(kinds[str(owner["kind"])], Key(str(owner["name"]), meta.namespace(obj)))
        except NotFound:
            return True
        return meta.uid(found) != owner["uid"]


def _reference(claim: Obj) -> Obj:
    return {
        "kind": "PersistentVolumeClaim",
        "uid": meta.uid(claim),
        "name": meta.name(claim),
        "namespace": meta.namespace(claim),
    }
