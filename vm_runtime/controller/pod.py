"""The launcher's pod: what a guest needs to run on a node. Pure."""

from typing import Final

from diskyard.api import meta, quantity
from diskyard.api.config import Config
from diskyard.api.hotplug import fixed
from diskyard.api.instance import Instance, part
from diskyard.api.job import LaunchJob
from diskyard.api.meta import INSTANCE, Obj
from diskyard.api.names import derived, kubevirt
from diskyard.api.pod import Worker, container, pod
from diskyard.api.quantity import MIB
from diskyard.api.settings import Settings
from vm_runtime.controller.luggage import (
    claim_pieces,
    fetches,
    for_fetching,
    pieces,
    service_account,
)

LAUNCHER: Final = "diskyard-launcher"
CONSUME: Final = "--consume"
ASK: Final = "--ask"
EXTRA_GRACE: Final = 30
"""Seconds that the launcher gets beside the guest's own time to shut down."""
CPU_RATIO: Final = 10
"""Virtual processors to one that is asked of the node (KubeVirt's cpuAllocationRatio)."""


def overhead(memory: int, processors: int) -> int:
    """Bytes that a guest of that memory needs around it: KubeVirt's formula for the parts that we have."""
    fixed = 25 + 100 + 25 + 40 + 50  # monitor, launcher, log daemon, libvirt, qemu
    return memory // 512 + (fixed + 8 * processors + 8 + 32) * MIB  # + I/O thread and video


def launcher_pod(
    obj: Obj, instance: Instance, config: Config, *, accelerated: bool, networked: bool = False
) -> Obj:
    """The pod that runs the guest; what comes later is not its own."""
    instance = fixed(instance)
    awaits = meta.annotations(obj).get(kubevirt.CONSOLE_AWAITS, "")
    job = LaunchJob(instance.namespace, instance.name, instance.uid, accelerated, awaits)
    luggage = pieces(instance, config)
    worker = Worker(
        container=kubevirt.COMPUTE,
        command=(LAUNCHER,),
        env=job.to_env(),
        mounts=tuple((each.name, each.path) for each in luggage if not each.block),
        devices=tuple((each.name, each.path) for each in luggage if each.block),
        volumes=(*(each.volume for each in luggage), *for_fetching(instance, config)),
        resources=_resources(obj, instance, _devices(instance, kvm=accelerated, tun=networked)),
        restart_policy="Never",
        grace=instance.grace + EXTRA_GRACE,
    )
    name = derived.launcher_pod(instance.name, instance.uid)
    init = fetches(instance, config)
    first = {"initContainers": init} if init else {}
    asked = [{**container(worker), **{name: _probe(said) for name, said in instance.probes.items()}}]
    return pod(worker, _metadata(obj, name), **first, **_placement(obj, instance), containers=asked)


def placed(found: Obj, allowed: Settings) -> Obj:
    """The pod where the operator wants guests, with the launcher's image pulled as the operator says."""
    spec = meta.spec(found)
    pulled = {"imagePullPolicy": allowed.pull_policy} if allowed.pull_policy else {}
    return {
        **found,
        "spec": {
            **spec,
            # What the guest asks for itself goes first, as with KubeVirt.
            "nodeSelector": {**allowed.nodes, **part(spec, "nodeSelector")},
            "containers": [{**each, **pulled} for each in spec["containers"]],
        },
    }


def _probe(said: Obj) -> Obj:
    """A guest's probe as one of its launcher's container, which asks the agent for what happens inside."""
    others = {name: value for name, value in said.items() if name not in ("exec", "guestAgentPing")}
    if said.get("guestAgentPing") is not None:
        return {**others, "exec": {"command": [LAUNCHER, ASK, "ping"]}}
    if said.get("exec") is not None:
        patience = str(said.get("timeoutSeconds") or 1)
        inside = [str(each) for each in part(said, "exec").get("command") or ()]
        return {**others, "exec": {"command": [LAUNCHER, ASK, "exec", patience, *inside]}}
    return others


def consumer_pod(obj: Obj, instance: Instance) -> Obj:
    """The pod that only uses the claims, so that those that wait for a first consumer are bound."""
    claims = claim_pieces(fixed(instance))
    worker = Worker(
        container=kubevirt.COMPUTE,
        command=(LAUNCHER, CONSUME),
        mounts=tuple((each.name, each.path) for each in claims if not each.block),
        devices=tuple((each.name, each.path) for each in claims if each.block),
        volumes=tuple(each.volume for each in claims),
        restart_policy="Never",
        grace=0,
    )
    metadata = _metadata(obj, derived.consumer_pod(instance.name, instance.uid))
    metadata["annotations"][kubevirt.EPHEMERAL_PROVISIONING] = "true"
    return pod(worker, metadata, **_placement(obj, instance))


def is_launcher(obj: Obj) -> bool:
    """Whether a pod runs a guest (or has run one)."""
    return meta.labels(obj).get(
        kubevirt.APP_LABEL
    ) == kubevirt.LAUNCHER and kubevirt.EPHEMERAL_PROVISIONING not in meta.annotations(obj)


def _metadata(obj: Obj, name: str) -> Obj:
    kept = {
        key: text
        for key, text in meta.annotations(obj).items()
        if not key.startswith("kubectl.kubernetes.io/") and key != kubevirt.ACCELERATION
    }
    return {
        "name": name,
        "namespace": meta.namespace(obj),
        "labels": {
            **meta.labels(obj),
            kubevirt.APP_LABEL: kubevirt.LAUNCHER,
            kubevirt.CREATED_BY: meta.uid(obj),
            kubevirt.VM_LABEL: meta.name(obj)[:63].rstrip("-."),
            kubevirt.VMI_ID_LABEL: derived.instance_label(meta.name(obj)),
        },
        "annotations": {
            **kept,
            kubevirt.DOMAIN: meta.name(obj),
            kubevirt.DEFAULT_CONTAINER: kubevirt.COMPUTE,
        },
        "ownerReferences": [meta.owner_reference(INSTANCE, obj)],
    }


def _placement(obj: Obj, instance: Instance) -> Obj:
    spec = meta.spec(obj)
    said = (
        "affinity", "tolerations", "schedulerName", "topologySpreadConstraints", "priorityClassName", "subdomain",
        "dnsPolicy",
    )  # fmt: skip
    account = service_account(instance)
    return {
        "hostname": instance.hostname,
        **({"serviceAccountName": account} if account else {}),
        "nodeSelector": {kubevirt.SCHEDULABLE: "true", **(spec.get("nodeSelector") or {})},
        **{name: spec[name] for name in said if spec.get(name)},
    }


def _devices(instance: Instance, *, kvm: bool, tun: bool) -> Obj:
    """The devices that the guest needs of its node."""
    wanted = {kubevirt.KVM_RESOURCE: kvm, kubevirt.TUN_RESOURCE: tun and instance.interfaces}
    return {name: "1" for name, asked in wanted.items() if asked}


def _resources(obj: Obj, instance: Instance, devices: Obj) -> Obj:
    asked: Obj = ((meta.spec(obj).get("domain") or {}).get("resources")) or {}
    spared = asked.get("overcommitGuestOverhead") is True
    around = 0 if spared else overhead(instance.memory, instance.cpu.count)
    page = part(part(instance.domain, "memory"), "hugepages").get("pageSize")
    said = asked.get("requests") or {}
    promised = quantity.parse(said.get("memory") or instance.memory)
    requests = {
        "cpu": str(said.get("cpu") or f"{1000 * instance.cpu.count // CPU_RATIO}m"),
        "memory": str(around if page else promised + around),
    }
    if page:
        devices = {**devices, f"hugepages-{page}": str(instance.memory)}
    limits: Obj = {**devices}
    if (asked.get("limits") or {}).get("cpu"):
        limits["cpu"] = asked["limits"]["cpu"]
    requests |= devices
    return {"requests": requests, **({"limits": limits} if limits else {})}
