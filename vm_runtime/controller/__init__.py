"""The control plane of guests: reconcilers that turn machines into instances, and instances into pods."""

from typing import Any

from diskyard.kube.reconcile import Reconciler
from vm_runtime.controller.instances import Instances
from vm_runtime.controller.kubevirts import KubeVirts
from vm_runtime.controller.machines import Machines
from vm_runtime.controller.replicas import Replicas


def reconcilers() -> tuple[Reconciler[Any], ...]:
    """All of them, ready for `diskyard.kube.controller.Controllers`."""
    return (KubeVirts(), Machines(), Replicas(), Instances())
