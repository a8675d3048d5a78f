"""What we read of DataVolumes, claims, classes and settings."""

import pytest

from diskyard.api.config import Config, config
from diskyard.api.datavolume import datavolume
from diskyard.api.meta import DATA_VOLUME, Key, Obj
from diskyard.api.names import cdi
from diskyard.api.origin import S3, Blank, Gcs, Http, Imageio, Origin, Registry, Vddk
from diskyard.api.storage import StorageClass, choices, claim, default_class, storage_class
from tests import builders

ORIGINS: dict[str, tuple[Obj, Origin]] = {
    "the web": (
        {"http": {
            "url": "https://images.example/a.img", "secretRef": "keys", "certConfigMap": "roots",
            "extraHeaders": ["A: 1"], "secretExtraHeaders": ["more"], "checksum": "md5:0", "insecureSkipVerify": True,
        }},
        Http("https://images.example/a.img", "keys", "roots", ("A: 1",), ("more",), "md5:0", True),
    ),
    "S3": (
        {"s3": {"url": "https://s3.example/b/k", "secretRef": "keys", "certConfigMap": "roots"}},
        S3("https://s3.example/b/k", "keys", "roots"),
    ),
    "Google's storage": ({"gcs": {"url": "gs://b/o", "secretRef": "account"}}, Gcs("gs://b/o", "account")),
    "a registry": (
        {"registry": {
            "url": "docker://r/i", "pullMethod": "node", "platform": {"architecture": "arm64"}, "secretRef": "pull",
            "certConfigMap": "roots",
        }},
        Registry("docker://r/i", "node", "arm64", "pull", "roots"),
    ),
    "oVirt": (
        {"imageio": {"url": "https://e/api", "diskId": "1", "secretRef": "keys", "insecureSkipVerify": True}},
        Imageio("https://e/api", "1", "keys", "", True),
    ),
    "vSphere": (
        {"vddk": {
            "url": "https://v", "uuid": "u", "backingFile": "[d] m/m.vmdk", "thumbprint": "AA:BB", "secretRef": "keys",
            "certConfigMap": "roots", "initImageURL": "r/vddk:8", "extraArgs": "more",
        }},
        Vddk("https://v", "u", "[d] m/m.vmdk", "AA:BB", "keys", "roots", "r/vddk:8", "more"),
    ),
    "nothing": ({"blank": {}}, Blank()),
}  # fmt: skip


@pytest.mark.parametrize(("source", "read"), ORIGINS.values(), ids=ORIGINS.keys())
def test_a_datavolume_from(source: Obj, read: Origin) -> None:
    found = datavolume(builders.data_volume("disk", source=source))
    assert found.origin == read
    assert (found.key, found.source, found.unserved) == (Key("disk", "default"), *source, "")


UNSERVED: dict[str, tuple[Obj, str]] = {
    "nothing": ({"source": None}, "names 0 sources"),
    "an image stream": ({"source": {"registry": {"imageStream": "s", "pullMethod": "node"}}}, "imageStream"),
    "an archive of a disk": (
        {"source": {"vddk": {}}, "contentType": "archive"}, "spec.contentType archive is not served for vddk",
    ),
    "stages": (
        {"source": {"http": {}}, "checkpoints": [{"current": "1"}]}, "spec.checkpoints is served for imageio and vddk",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "words"), UNSERVED.values(), ids=UNSERVED.keys())
def test_says_what_is_not_served(spec: Obj, words: str) -> None:
    found = datavolume(builders.data_volume("disk", **spec))
    assert words in found.unserved
    assert not found.served


@pytest.mark.parametrize(
    ("source", "named", "served"),
    [
        ({"blank": {}}, "blank", True),
        ({"s3": {"url": "s3"}}, "s3", True),
        ({"upload": {}}, "upload", True),
        ({"pvc": {"namespace": "n", "name": "c"}}, "pvc", True),
        ({}, "", False),
        ({"blank": {}, "upload": {}}, "", False),
    ],
)
def test_the_source_is_known_by_its_one_entry(source: dict[str, object], named: str, served: bool) -> None:
    found = datavolume(builders.data_volume("disk", source=source))
    assert (found.source, found.served) == (named, served)


def test_an_empty_datavolume_is_read_as_nothing() -> None:
    found = datavolume(builders.some(DATA_VOLUME, "disk"))
    assert (found.sources, found.pvc, found.storage, found.content_type) == ((), None, None, "kubevirt")
    assert found.preallocation is None


def test_a_claim_and_what_is_known_of_its_filling() -> None:
    obj = builders.claim("disk", "5Gi", volumeMode="Block", storageClassName="fast")
    obj["metadata"]["annotations"] = {cdi.POD_PHASE: "Succeeded", cdi.IMPORT_FATAL: "true"}
    obj["metadata"]["ownerReferences"] = [{"uid": "o", "controller": True}]
    obj["status"] = {"phase": "Bound"}
    found = claim(obj)
    assert (found.bound, found.block, found.request, found.storage_class) == (True, True, "5Gi", "fast")
    assert (found.pod_phase, found.fatal, found.owner_uid, found.controller_uid) == (
        "Succeeded",
        True,
        "o",
        "o",
    )


def test_with_several_owners_none_is_the_one() -> None:
    obj = builders.claim("disk")
    obj["metadata"]["ownerReferences"] = [{"uid": "a"}, {"uid": "b", "controller": True}]
    assert (claim(obj).owner_uid, claim(obj).controller_uid) == ("", "b")


def test_a_class_says_how_it_binds_and_whose_default_it_is() -> None:
    obj = builders.storage_class("here", "WaitForFirstConsumer")
    obj["metadata"]["annotations"] = {cdi.DEFAULT_CLASS: "true"}
    assert storage_class(obj) == StorageClass("here", "diskyard.io/local", waits=True, default=True)


A = StorageClass("a", default=True, created="2026-01-01T00:00:00Z")
B = StorageClass("b", default=True, created="2026-02-01T00:00:00Z")
GUESTS = StorageClass("g", virt_default=True)
PLAIN = StorageClass("p")


@pytest.mark.parametrize(
    ("classes", "virt", "chosen"),
    [
        ((A, PLAIN), True, "a"),
        ((A, B), True, "b"),
        ((A, GUESTS), True, "g"),
        ((A, GUESTS), False, "a"),
        ((PLAIN,), True, ""),
        ((GUESTS,), False, ""),
    ],
)
def test_the_default_class_is(classes: tuple[StorageClass, ...], virt: bool, chosen: str) -> None:
    found = default_class(classes, virt)
    assert (found.name if found else "") == chosen


def test_the_choices_are_told_with_the_default() -> None:
    assert choices((PLAIN, A)) == "a (default), p"
    assert choices(()) == "none"


def test_settings_have_defaults() -> None:
    found = config({})
    assert found == Config()
    assert (found.overhead_of("any", block=False), found.honours_waiting) == ("0.06", False)


def test_the_overhead_is_that_of_the_class_and_nothing_for_devices() -> None:
    overheads = {"global": "0.1", "storageClass": {"fast": "0.2"}}
    found = config({"status": {"filesystemOverhead": overheads}})
    assert [found.overhead_of(name, block=False) for name in ("fast", "other", "")] == ["0.2", "0.1", "0"]
    assert found.overhead_of("fast", block=True) == "0"


def test_settings_say_gates_proxies_and_resources() -> None:
    proxy = {"HTTPProxy": "h", "HTTPSProxy": "s", "noProxy": "n"}
    status = {"importProxy": proxy, "defaultPodResourceRequirements": {"limits": {}}, "preallocation": True}
    found = config({"spec": {"featureGates": [cdi.WAIT_GATE, cdi.ADOPTION_GATE]}, "status": status})
    assert found.honours_waiting
    assert found.adopts
    assert (found.proxy.http, found.proxy.https, found.proxy.none) == ("h", "s", "n")
    assert (found.resources, found.preallocation) == ({"limits": {}}, True)


def test_what_the_operator_says_of_sources() -> None:
    found = config(
        {
            "metadata": {
                "annotations": {
                    cdi.REGISTRY_MIRRORS: "docker.io=mirror.example:5000, quay.io=q.example/cache",
                    cdi.VDDK_FOLDER: "/usr/local/lib/vddk",
                }
            },
            "spec": {"insecureRegistries": ["registry.example:5000"]},
            "status": {"imagePullSecrets": [{"name": "pull"}]},
        }
    )
    assert found.registry_mirrors == ("docker.io=mirror.example:5000", "quay.io=q.example/cache")
    assert found.insecure_registries == ("registry.example:5000",)
    assert (found.vddk_folder, found.pull_secrets) == ("/usr/local/lib/vddk", ({"name": "pull"},))
