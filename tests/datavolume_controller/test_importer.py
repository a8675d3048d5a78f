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
    assert the_container(made(filesystem))["volumeMounts"] == [{"name": "cdi-data-vol", "mountPath": "/data"}]
    device = the_container(made(block))
    assert device["volumeMounts"] == []
    assert device["volumeDevices"] == [{"name": "cdi-data-vol", "devicePath": "/dev/cdi-block-volume"}]
    assert ImportJob.from_env(environment(made(block))).overhead == "0"


def test_credentials_come_from_the_secret_and_stand_nowhere() -> None:
    env = the_container(made(a_claim(IMPORT_SECRET="keys")))["env"]
    refs = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in env if "secretKeyRef" in str(each)}
    assert refs[cdi.ENV_ACCESS_KEY]["name"] == "keys"
    assert refs[cdi.ENV_SECRET_KEY]["key"] == "secretKey"
    assert refs[cdi.ENV_SESSION_TOKEN] == {"name": "keys", "key": "sessionToken", "optional": True}


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
    assert mounts == {"/data", "/certs", "/extraheaders/0"}
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
