"""Kubernetes' own labels and names, as far as a server, a node and its storage speak them."""

from typing import Final

# what a server writes into objects
NAMESPACE_NAME_LABEL: Final = "kubernetes.io/metadata.name"
NAMESPACE_FINALIZER: Final = "kubernetes"
ORPHAN: Final = "orphan"
FOREGROUND: Final = "foregroundDeletion"

HOSTNAME_LABEL: Final = "kubernetes.io/hostname"
ARCH_LABEL: Final = "kubernetes.io/arch"
OS_LABEL: Final = "kubernetes.io/os"
DESCRIPTION: Final = "kubernetes.io/description"
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"

# the yard's storage
PROVISIONER: Final = "diskyard.io/local"
LOCAL_CLASS: Final = "local"
LOCAL_WAIT_CLASS: Final = "local-wait"
VOLUME_PROTECTION: Final = "kubernetes.io/pv-protection"
CLASS_ANNOTATION: Final = "volume.beta.kubernetes.io/storage-class"
IN_TREE: Final = "kubernetes.io/"
"""Begins the names of provisioners that Kubernetes itself has."""
HOSTPATH_PROVISIONER: Final = "kubevirt.io/hostpath-provisioner"
MINIKUBE_PROVISIONER: Final = "k8s.io/minikube-hostpath"
NO_PROVISIONER: Final = "kubernetes.io/no-provisioner"
BIND_COMPLETED: Final = "pv.kubernetes.io/bind-completed"

CLASS_QUOTA: Final = ".storageclass.storage.k8s.io/"
"""Between a class and what of it a quota limits."""

# what leads from a Service to its pods
ENDPOINTS_MANAGED_BY: Final = "endpoints.kubernetes.io/managed-by"
ENDPOINT_CONTROLLER: Final = "endpoint-controller"
SLICE_MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
SLICE_CONTROLLER: Final = "endpointslice-controller.k8s.io"
SERVICE_NAME: Final = "kubernetes.io/service-name"
HEADLESS: Final = "service.kubernetes.io/headless"

# devices that a pod asks for in `resources.limits`
KVM_DEVICE: Final = "devices.kubevirt.io/kvm"
TUN_DEVICE: Final = "devices.kubevirt.io/tun"
VHOST_NET_DEVICE: Final = "devices.kubevirt.io/vhost-net"

INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"
"""On the bookmark that ends the first part of a watch with `sendInitialEvents`."""
ROLE_LABEL: Final = "node-role.kubernetes.io/"
"""Followed by the role, on nodes."""
CRD_FINALIZER: Final = "customresourcecleanup.apiextensions.k8s.io"

# what a ServiceAccount's token says of itself, in the `extra` of its user
CREDENTIAL_ID: Final = "authentication.kubernetes.io/credential-id"
POD_NAME: Final = "authentication.kubernetes.io/pod-name"
POD_UID: Final = "authentication.kubernetes.io/pod-uid"
NODE_NAME: Final = "authentication.kubernetes.io/node-name"
NODE_UID: Final = "authentication.kubernetes.io/node-uid"

# roles that the server brings
BOOTSTRAPPING_LABEL: Final = "kubernetes.io/bootstrapping"
AUTOUPDATE: Final = "rbac.authorization.kubernetes.io/autoupdate"
AGGREGATE_LABEL: Final = "rbac.authorization.k8s.io/aggregate-to-"
"""Followed by admin, edit or view."""
TLS_SECRET: Final = "kubernetes.io/tls"
"""The type of Secrets that hold a certificate and its key."""
UNSCHEDULABLE: Final = "node.kubernetes.io/unschedulable"
NOT_READY: Final = "node.kubernetes.io/not-ready"
UNREACHABLE: Final = "node.kubernetes.io/unreachable"
"""Taints of a node that is lost; pods stay on it for a while."""
