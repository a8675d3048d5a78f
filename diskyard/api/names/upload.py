"""CDI's names for uploads: annotations, labels, objects, environment, paths; and our own beside them."""

import hashlib
from typing import Final

from diskyard.api.names.cdi import P
from diskyard.api.names.derived import fitted

GROUP: Final = "upload.cdi.kubevirt.io"
VERSIONS: Final = ("v1beta1", "v1alpha1")

# annotations on claims
POD_NAME: Final = P + "storage.uploadPodName"

# labels
SERVER: Final = "cdi-upload-server"
PROFILE_LABEL: Final = P + "applyStorageProfile"
SERVICE_LABEL: Final = "service"
TARGET_LABEL: Final = P + "uploadTarget"
PROXY: Final = "cdi-uploadproxy"

# objects in CDI's namespace
SIGNING_KEY: Final = "cdi-api-signing-key"
PRIVATE_KEY: Final = "id_rsa"
PUBLIC_KEY: Final = "id_rsa.pub"
SERVER_SIGNER: Final = "cdi-uploadserver-signer"
CLIENT_SIGNER: Final = "cdi-uploadserver-client-signer"
CLIENT_CERT: Final = "cdi-uploadserver-client-cert"
PROXY_SIGNER: Final = "cdi-uploadproxy-signer"
PROXY_CERT: Final = "cdi-uploadproxy-server-cert"
BUNDLE: Final = "-bundle"
"""Behind a signer's name: the ConfigMap with its certificates."""
BUNDLE_KEY: Final = "ca-bundle.crt"
CLIENT_NAME: Final = "client.upload-server.cdi.kubevirt.io"
PROXY_URL: Final = "diskyard.io/upload-proxy-url"
"""Ours, on the proxy's Service: where it is reached from outside."""
RENEWED: Final = "diskyard.io/renew-after"
"""Ours, on Secrets with certificates: when there is to be another one."""

# the upload server's environment
ENV_KEY: Final = "TLS_KEY_FILE"
ENV_CERT: Final = "TLS_CERT_FILE"
ENV_CLIENT_CERT: Final = "CLIENT_CERT_FILE"
ENV_CLIENT_NAME: Final = "CLIENT_NAME"
ENV_IMAGE_SIZE: Final = "UPLOAD_IMAGE_SIZE"
ENV_DEADLINE: Final = "DEADLINE"
ENV_DESTINATION: Final = "DESTINATION"
ENV_ADDRESS: Final = "LISTEN_ADDRESS"
ENV_PORT: Final = "LISTEN_PORT"
ENV_CONTENT_TYPE: Final = "DISKYARD_UPLOAD_CONTENT_TYPE"
ENV_IDLE: Final = "DISKYARD_UPLOAD_IDLE"
ENV_TLS_PROFILE: Final = "DISKYARD_TLS_PROFILE"
ENV_EXPIRY: Final = "DISKYARD_UPLOAD_EXPIRY"

# the proxy's environment, with ENV_IDLE
ENV_TOTAL: Final = "DISKYARD_UPLOAD_TOTAL"
ENV_SLOWEST: Final = "DISKYARD_UPLOAD_SLOWEST"
ENV_REQUESTS: Final = "DISKYARD_UPLOAD_REQUESTS"
ENV_ONE_CLIENT: Final = "DISKYARD_UPLOAD_REQUESTS_OF_ONE_CLIENT"

IDLE_HEADER: Final = "Diskyard-Upload-Idle"
"""From the proxy to the server: how long it bears a silent client, in seconds."""
EXPIRY_HEADER: Final = "Diskyard-Upload-Expiry"
"""Likewise: how long it keeps an upload that nobody goes on with."""

# where things are in the upload server's pod
TLS_DIR: Final = "/etc/tls"
TLS_VOLUME: Final = "cdi-upload-tls"
PORT: Final = 8443
CONTAINER: Final = "cdi-upload-server"

# paths of CDI's proxy, without their version
SYNC: Final = "upload"
ASYNC: Final = "upload-async"
FORM: Final = "upload-form"
FORM_ASYNC: Final = "upload-form-async"
ARCHIVE: Final = "upload-archive"
UPLOADS: Final = "/v1/uploads"
"""Ours: tus 1.0."""


def server_name(claim: str) -> str:
    """`cdi-upload-<claim>`: the pod, Service and Secret of a claim's upload. A Service's name has no dots."""
    whole = fitted("cdi-upload", claim, 63)
    return whole if "." not in whole else fitted("cdi-upload", claim.replace(".", "-") + _mark(claim), 63)


def host(claim: str, namespace: str) -> str:
    """The name in the server's certificate."""
    return f"{server_name(claim)}.{namespace}.svc"


def _mark(name: str) -> str:
    return f"-{hashlib.sha256(name.encode()).hexdigest()[:5]}"
