"""Whether a machine's template was changed under its guest, which keeps running as it was started. Pure."""

import hashlib
import json
from typing import Final

from diskyard.api import meta
from diskyard.api.hotplug import moving, without
from diskyard.api.instance import part
from diskyard.api.meta import Condition, Obj
from diskyard.api.names import kubevirt

REQUIRED: Final = Condition(
    "RestartRequired", "True", "", "a non-live-updatable field was changed in the template spec"
)
"""KubeVirt's words."""


def print_of(template: Obj) -> str:
    """What a template's spec looks like, but for what a running guest follows: volumes that come and go."""
    spec = meta.spec(template)
    kept = without(spec, set(moving(spec)))
    domain = part(spec, "domain")
    devices = {**part(domain, "devices"), **part(part(kept, "domain"), "devices")}
    lasting = {**spec, "volumes": kept["volumes"], "domain": {**domain, "devices": devices}}
    return hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()[:16]


def required(template: Obj, instance: Obj | None) -> tuple[Condition, ...]:
    """The condition, where the instance was made of another template than this one."""
    made_of = meta.annotations(instance or {}).get(kubevirt.TEMPLATE)
    return (REQUIRED,) if made_of and made_of != print_of(template) else ()
