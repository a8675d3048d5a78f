"""The claim that keeps what a guest's firmware and TPM remember from one life to the next. Pure."""

from typing import Final

from diskyard.api import meta
from diskyard.api.instance import Instance
from diskyard.api.meta import CLAIM, INSTANCE, MACHINE, Obj
from diskyard.api.names import derived, kubevirt
from diskyard.api.settings import Settings

SIZE: Final = "10Mi"


def remembers(instance: Instance) -> bool:
    """Whether it needs such a claim."""
    return instance.keeps_variables or instance.keeps_tpm


def state_claim(obj: Obj, instance: Instance, settings: Settings) -> Obj:
    """It is the machine's where there is one: it stays when the machine stops, and goes when the machine goes."""
    chosen = {"storageClassName": settings.state_class} if settings.state_class else {}
    return {
        "apiVersion": CLAIM.api_version,
        "kind": CLAIM.kind,
        "metadata": {
            "name": derived.state_claim(instance.name),
            "namespace": instance.namespace,
            "labels": {kubevirt.STATE_LABEL: instance.name[:63].rstrip("-.")},
            "ownerReferences": [_owner(obj)],
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "volumeMode": "Filesystem",
            "resources": {"requests": {"storage": SIZE}},
            **chosen,
        },
    }


def _owner(obj: Obj) -> Obj:
    owner = meta.controller_of(obj)
    return dict(owner) if owner and owner.get("kind") == MACHINE.kind else meta.owner_reference(INSTANCE, obj)
