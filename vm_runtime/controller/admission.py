"""What admission does, done by the controllers too: on a cluster no webhook has filled in or refused anything.

The rules are the yard's own. Where they have spoken already, nothing is left to say here. Pure.
"""

from collections.abc import Iterable

from diskyard.api import meta
from diskyard.api.meta import INSTANCE, Obj
from diskyard.api.names import kubevirt
from diskyard.api.rules import instance as instance_rules
from diskyard.api.rules import machine as machine_rules
from diskyard.api.rules import replicas as replicas_rules
from diskyard.api.settings import Settings
from diskyard.errors import Cause
from diskyard.kube.reconcile import Merge


def admitted(obj: Obj) -> bool:
    """Whether an instance has what is filled in when it is made."""
    return kubevirt.INSTANCE_FINALIZER in meta.finalizers(obj)


def admit(obj: Obj, settings: Settings) -> Merge:
    """Fill in an instance's defaults, once."""
    found = instance_rules.defaults(obj, settings)
    metadata = {name: meta.meta(found)[name] for name in ("finalizers", "annotations")}
    version = meta.meta(obj).get("resourceVersion")
    change = {"metadata": {**metadata, "resourceVersion": version}, "spec": meta.spec(found)}
    return Merge(INSTANCE, meta.key(obj), change)


def instance_refusal(obj: Obj, settings: Settings) -> str:
    """Why an instance that has no pod yet is not to get one; empty: nothing speaks against it."""
    if not admitted(obj) or meta.phase(obj) not in ("", "Pending"):
        return ""
    return _sentence(instance_rules.causes(obj, None, settings))


def machine_refusal(obj: Obj, settings: Settings) -> str:
    """Why a machine is not to be started; empty: nothing speaks against it."""
    return _sentence(machine_rules.causes(obj, None, settings))


def replicas_refusal(obj: Obj, settings: Settings) -> str:
    """Why no instance of a replica set is to be made; empty: nothing speaks against it."""
    return _sentence(replicas_rules.causes(obj, None, settings))


def _sentence(causes: Iterable[Cause]) -> str:
    return "; ".join(cause.message for cause in causes)
