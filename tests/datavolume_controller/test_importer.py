"""The importer's pod: what it is asked, where the volume is, what it may know."""

from typing import Any

from datavolume_controller import importer
from diskyard.api import meta
from diskyard.api.config import Config, Proxy, config
from diskyard.api.job import ImportJob
from diskyard.api.meta import Obj
from diskyard.api.names import cdi
from diskyard.api.storage import claim
from tests.datavolume_controller.worlds import a_claim


def made(obj: Obj, config: Config | None = None) -> Obj:
    return importer.pod(obj, claim(obj), config or Config())


def the_container(pod: Obj) -> Any:
    return meta.spec(pod)["containers"][0]


def environment(pod: Obj) -> dict[str, str]:
    return {each["name"]: each["value"] for each in the_container(pod)["env"] if "value" in each}


def test_the_worker_reads_the_job_that_the_controller_wrote() -> None:
    obj = a_claim(
        IMPORT_ENDPOINT="https://images.example/a.img", IMPORT_CHECKSUM="sha256:00", IMPORT_INSECURE="true"
    )
    job = ImportJob.from_env(environment(made(obj)))
    assert (job.endpoint, job.checksum, job.insecure_tls) == (
        "https://images.example/a.img",
        "sha256:00",
        True,
    )
    assert (job.image_size, job.overhead, job.owner_uid) == ("1Gi", "0.06", "claim-uid")


def test_a_blank_disk_is_a_job_without_an_endpoint() -> None:
    job = ImportJob.from_env(environment(made(a_claim(IMPORT_SOURCE="none"))))
    assert (job.source, job.endpoint) == ("none", "")


def test_a_file_system_is_mounted_and_a_device_is_not() -> None:
    filesystem, block = a_claim(), a_claim()
    block["spec"]["volumeMode"] = "Block"
    scratch = {"name": "cdi-scratch-vol", "mountPath": "/scratch"}
    file = {"name": "cdi-data-vol", "mountPath": "/data"}
    assert the_container(made(filesystem))["volumeMounts"] == [file, scratch]
    device = the_container(made(block))
    assert device["volumeMounts"] == [scratch]
    assert device["volumeDevices"] == [{"name": "cdi-data-vol", "devicePath": "/dev/cdi-block-volume"}]
    assert ImportJob.from_env(environment(made(block))).overhead == "0"


def references(pod: Obj) -> dict[str, Obj]:
    env = the_container(pod)["env"]
    return {each["name"]: each["valueFrom"]["secretKeyRef"] for each in env if "secretKeyRef" in str(each)}


def paths(pod: Obj) -> dict[str, str]:
    """Where each volume is mounted, the claim's and the scratch folder left out."""
    mounts = {each["name"]: each["mountPath"] for each in the_container(pod)["volumeMounts"]}
    assert {each["name"] for each in meta.spec(pod)["volumes"]} == set(mounts)
    always = (cdi.DATA_VOLUME_NAME, cdi.SCRATCH_VOLUME_NAME)
    return {name: path for name, path in mounts.items() if name not in always}


def test_credentials_come_from_the_secret_and_stand_nowhere() -> None:
    found = references(made(a_claim(IMPORT_SECRET="keys")))
    assert found == {
        cdi.ENV_ACCESS_KEY: {"name": "keys", "key": "accessKeyId"},
        cdi.ENV_SECRET_KEY: {"name": "keys", "key": "secretKey"},
        cdi.ENV_SESSION_TOKEN: {"name": "keys", "key": "sessionToken", "optional": True},
    }


def test_a_registrys_secret_holds_a_password_or_is_a_pull_secret() -> None:
    pod = made(a_claim(IMPORT_SOURCE="registry", IMPORT_SECRET="pull"))
    assert {name: each["optional"] for name, each in references(pod).items()} == {
        cdi.ENV_ACCESS_KEY: True,
        cdi.ENV_SECRET_KEY: True,
    }
    assert paths(pod) == {cdi.SECRET_VOLUME_NAME: "/registry"}


def test_an_image_is_asked_for_as_the_operator_says() -> None:
    registries = Config(
        insecure_registries=("registry.example:5000",), registry_mirrors=("docker.io=mirror.example",)
    )
    obj = a_claim(
        IMPORT_SOURCE="registry",
        IMPORT_ENDPOINT="docker://r/i",
        REGISTRY_ARCHITECTURE="arm64",
        REGISTRY_METHOD="node",
    )
    job = ImportJob.from_env(environment(made(obj, registries)))
    assert (job.source, job.endpoint, job.architecture, job.pull_method) == (
        "registry", "docker://r/i", "arm64", "node",
    )  # fmt: skip
    assert job.insecure_registries == ("registry.example:5000",)
    assert job.registry_mirrors == ("docker.io=mirror.example",)


def test_only_images_know_of_registries() -> None:
    env = environment(made(a_claim(), Config(insecure_registries=("r",), registry_mirrors=("a=b",))))
    assert not {cdi.ENV_INSECURE_REGISTRIES, cdi.ENV_REGISTRY_MIRRORS} & set(env)


def test_a_disk_in_ovirt_is_named() -> None:
    job = ImportJob.from_env(environment(made(a_claim(IMPORT_SOURCE="imageio", IMPORT_DISK_ID="1"))))
    assert (job.source, job.disk_id) == ("imageio", "1")


def a_vddk_claim() -> Obj:
    return a_claim(
        IMPORT_SOURCE="vddk", IMPORT_UUID="u", IMPORT_BACKING_FILE="[d] m.vmdk", IMPORT_THUMBPRINT="AA",
        VDDK_IMAGE="r/vddk:8", VDDK_EXTRA_ARGS="more",
    )  # fmt: skip


def test_an_image_brings_vmwares_library() -> None:
    pod = made(a_vddk_claim())
    job = ImportJob.from_env(environment(pod))
    assert (job.uuid, job.backing_file, job.thumbprint) == ("u", "[d] m.vmdk", "AA")
    assert paths(pod) == {cdi.VDDK_ARGS_VOLUME_NAME: "/vddk-args", cdi.VDDK_VOLUME_NAME: "/opt"}
    (before,) = meta.spec(pod)["initContainers"]
    assert before["image"] == "r/vddk:8"
    assert before["volumeMounts"] == [{"name": cdi.VDDK_VOLUME_NAME, "mountPath": "/opt"}]


def test_the_operators_folder_comes_before_an_image() -> None:
    pod = made(a_vddk_claim(), Config(vddk_folder="/usr/local/lib/vddk"))
    assert ImportJob.from_env(environment(pod)).vddk_dir == "/usr/local/lib/vddk"
    assert "initContainers" not in meta.spec(pod)


def test_a_signed_file_of_checksums_and_its_keys() -> None:
    obj = a_claim(CHECKSUM_URL="https://h/SUMS", SIGNATURE_URL="https://h/SUMS.gpg", KEYRING="keys")
    pod = made(obj)
    job = ImportJob.from_env(environment(pod))
    assert (job.checksum_url, job.signature_url) == ("https://h/SUMS", "https://h/SUMS.gpg")
    assert job.keyring == "/keyring/keyring.asc"
    assert paths(pod) == {cdi.KEYRING_VOLUME_NAME: "/keyring"}


def test_an_archive_stays_one() -> None:
    assert ImportJob.from_env(environment(made(a_claim(CONTENT_TYPE="archive")))).content_type == "archive"


def test_a_service_accounts_key_is_a_file() -> None:
    pod = made(a_claim(IMPORT_SOURCE="gcs", IMPORT_SECRET="account"))
    assert "/google" in {each["mountPath"] for each in the_container(pod)["volumeMounts"]}
    assert environment(pod)[cdi.ENV_GOOGLE_CREDENTIALS] == "/google/credentials.json"
    assert not [each for each in the_container(pod)["env"] if "secretKeyRef" in str(each)]


def test_certificates_and_secret_headers_are_mounted() -> None:
    obj = a_claim(IMPORT_CERTIFICATES="roots")
    obj["metadata"]["annotations"][f"{cdi.SECRET_EXTRA_HEADER}0"] = "more"
    pod = made(obj)
    mounts = {each["mountPath"] for each in the_container(pod)["volumeMounts"]}
    assert mounts == {"/data", "/scratch", "/certs", "/extraheaders/0"}
    assert environment(pod)[cdi.ENV_CERT_DIR] == "/certs"


def test_extra_headers_keep_their_order() -> None:
    obj = a_claim()
    for number in range(12):
        obj["metadata"]["annotations"][f"{cdi.EXTRA_HEADER}{number}"] = f"X-{number}: v"
    job = ImportJob.from_env(environment(made(obj)))
    assert job.extra_headers == tuple(f"X-{number}: v" for number in range(12))


def test_the_settings_reach_the_pod() -> None:
    config = Config(proxy=Proxy(https="http://proxy:3128"), resources={"limits": {"memory": "1G"}})
    pod = made(a_claim(POD_PRIORITY="high"), config)
    assert environment(pod)["https_proxy"] == "http://proxy:3128"
    assert the_container(pod)["resources"] == {"limits": {"memory": "1G"}}
    assert meta.spec(pod)["priorityClassName"] == "high"


def test_the_operator_allows_addresses_on_the_configuration() -> None:
    allowed = config({"metadata": {"annotations": {cdi.ALLOW_ADDRESSES: "169.254.10.0/24"}}})
    assert environment(made(a_claim(), allowed))[cdi.ENV_ALLOW_ADDRESSES] == "169.254.10.0/24"


def test_is_recognised_as_an_importer_of_its_claim() -> None:
    obj = a_claim()
    obj["metadata"]["labels"] = {"team": "blue"}
    pod = made(obj)
    assert meta.owned_by(pod, obj)
    assert meta.labels(pod)[cdi.COMPONENT_LABEL] == "importer"
    assert meta.labels(pod)["team"] == "blue"
    assert meta.annotations(pod)[cdi.CREATED_BY_IMPORT] == "yes"
    assert meta.annotations(pod)["sidecar.istio.io/inject"] == "false"
