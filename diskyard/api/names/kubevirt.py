"""KubeVirt's annotations, labels, paths and fixed names, as its clients know them."""

from typing import Final

P: Final = "kubevirt.io/"

APP_LABEL: Final = "kubevirt.io"
LAUNCHER: Final = "virt-launcher"
CREATED_BY: Final = P + "created-by"
DOMAIN: Final = P + "domain"
NODE_NAME: Final = P + "nodeName"
VM_LABEL: Final = "vm.kubevirt.io/name"
VMI_ID_LABEL: Final = "vmi.kubevirt.io/id"
SCHEDULABLE: Final = P + "schedulable"
HEARTBEAT: Final = P + "heartbeat"
EPHEMERAL_PROVISIONING: Final = P + "ephemeral-provisioning"
DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"
INSTANCE_FINALIZER: Final = P + "foregroundDeleteVirtualMachine"
MACHINE_FINALIZER: Final = P + "virtualMachineControllerFinalize"
MACHINE_GENERATION: Final = P + "vm-generation"
PCI_TOPOLOGY: Final = P + "pci-topology-version"
ACCELERATION: Final = "diskyard.io/acceleration"
"""Ours, on instances: `kvm` or `emulated`; on nodes: what the probe of KVM found, as a sentence."""
DOMAIN_REPORT: Final = "diskyard.io/domain"
"""Ours, on launchers' pods: what the launcher last said of its guest, as JSON."""
KVM_RESOURCE: Final = "devices.kubevirt.io/kvm"
INSTANCE_TYPES: Final = (P + "cluster-instancetype-name", P + "instancetype-name")
"""Annotations that name the instance type that an instance was made from."""

DOORS: Final = "subresources.kubevirt.io"
DOOR_VERSIONS: Final = ("v1", "v1alpha3")
NAMESPACE: Final = "kubevirt"
CR_NAME: Final = "kubevirt"
CONFIG_MAP_NAME: Final = "kubevirt-config"

# where things are in a launcher's pod
COMPUTE: Final = "compute"
PRIVATE_VOLUME: Final = "private"
PRIVATE_DIR: Final = "/var/run/kubevirt-private"
DISKS_DIR: Final = "/var/run/kubevirt-private/vmi-disks"
SECRETS_DIR: Final = PRIVATE_DIR + "/secret"
CONFIG_MAPS_DIR: Final = PRIVATE_DIR + "/config-map"
DOWNWARD_DIR: Final = PRIVATE_DIR + "/downwardapi"
SYSPREP_DIR: Final = PRIVATE_DIR + "/sysprep"
SERVICE_ACCOUNT_DIR: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
SCRATCH_VOLUME: Final = "ephemeral-disks"
SCRATCH_DIR: Final = "/var/run/kubevirt-ephemeral-disks"
CONTAINER_DISKS_DIR: Final = "/var/run/kubevirt/container-disks"
INSTANCE_FILE: Final = "instance.json"
PROBLEM: Final = "problem"
"""What of that file says why the guest cannot be started."""
CONTROL_SOCKET: Final = "control.sock"
QEMU_UID: Final = 107
VM_NETWORK: Final = "10.0.2.0/24"
SERIAL_SOCKET: Final = "virt-serial0"
CONSOLE_SOCKET: Final = "console"
"""Ours: where the launcher shares the serial port with all who look."""
VNC_SOCKET: Final = "virt-vnc"
AGENT_SOCKET: Final = "virt-agent"

# the launcher's environment
ENV_NAMESPACE: Final = "LAUNCHER_NAMESPACE"
ENV_NAME: Final = "LAUNCHER_NAME"
ENV_UID: Final = "LAUNCHER_UID"
ENV_ACCELERATED: Final = "LAUNCHER_KVM"

DEFAULTS: Final = "instancetype.kubevirt.io/"
"""Before `default-instancetype`, `default-preference` and their kinds: labels of a disk."""
