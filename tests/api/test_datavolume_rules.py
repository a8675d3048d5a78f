"""What is refused at the door, in CDI's words, with the field; and what has to be let in."""

from typing import Any

import pytest

from diskyard.api import meta
from diskyard.api.meta import DATA_VOLUME, Obj
from diskyard.api.names import cdi
from diskyard.api.rules.datavolume import Facts, causes
from tests import builders

HTTP = {"http": {"url": "https://images.example/a.img"}}
SUM = "a" * 64
VDDK = {"url": "https://v", "secretRef": "s", "uuid": "u", "backingFile": "f", "thumbprint": "t"}
IMAGEIO = {"url": "https://e/api", "secretRef": "s", "diskId": "1"}


def dv(source: Any = HTTP, **spec: Any) -> Obj:
    return builders.data_volume("disk", source=source, **spec)


def shaped(shape: str, size: Any = "1Gi", **more: Any) -> Obj:
    """A DataVolume with `spec.pvc` or `spec.storage`."""
    obj = dv()
    del obj["spec"]["storage"]
    modes = {"accessModes": ["ReadWriteOnce"]} if shape == "pvc" else {}
    requests = {} if size is None else {"resources": {"requests": {"storage": size}}}
    obj["spec"][shape] = {**modes, **requests, **more}
    return obj


def without(*names: str) -> Obj:
    obj = dv()
    for name in names:
        del obj["spec"][name]
    return obj


def http(url: str, **more: Any) -> Obj:
    return dv({"http": {"url": url, **more}})


def summed(text: str) -> Obj:
    return http("https://images.example/a.img", checksum=text)


def populated(**storage: Any) -> Obj:
    obj = without("source")
    obj["spec"]["storage"] |= storage
    return obj


def foreign(kind: str = "Populator", **more: Any) -> Obj:
    return {"apiGroup": "g.example", "kind": kind, "name": "n", **more}


REFUSED: dict[str, tuple[Obj, str, str]] = {
    "a name without end": (
        {**dv(), "metadata": {"name": "d" * 254}},
        "Name cannot be longer than 253 characters", "metadata.name",
    ),
    "neither pvc nor storage": (without("storage"), "Missing Data volume PVC", "spec.storage"),
    "both pvc and storage": (
        dv(pvc=shaped("pvc")["spec"]["pvc"]),
        "Duplicate storage definition, both target storage and target pvc defined", "spec.pvc",
    ),
    "a pvc without a size": (shaped("pvc", None), "PVC size is missing", "spec.pvc.resources.requests.storage"),
    "storage without a size": (
        shaped("storage", None), "Storage size is missing", "spec.storage.resources.requests.storage",
    ),
    "no size at all": (
        shaped("storage", "0"), "Storage size can't be equal or less than zero",
        "spec.storage.resources.requests.storage",
    ),
    "a size below nothing": (
        shaped("pvc", "-1Gi"), "PVC size can't be equal or less than zero", "spec.pvc.resources.requests.storage",
    ),
    "a size below a mebibyte": (
        shaped("pvc", "1Ki"), "PVC size should be at least 1MiB", "spec.pvc.resources.requests.storage",
    ),
    "a size that is no quantity": (
        shaped("pvc", "big"), "PVC size is not valid: 'big' is not a quantity: expected a number with a suffix "
        "such as 512Mi, 10Gi or 6G", "spec.pvc.resources.requests.storage",
    ),
    "a class name without end": (
        shaped("pvc", storageClassName="c" * 254),
        "Name cannot be longer than 253 characters", "spec.pvc.storageClassName",
    ),
    "a pvc without access modes": (
        shaped("pvc", accessModes=[]),
        "Required value: at least 1 access mode is required", "spec.pvc.accessModes",
    ),
    "a pvc with two access modes": (
        shaped("pvc", accessModes=["ReadWriteOnce", "ReadWriteMany"]),
        "PVC multiple accessModes", "spec.pvc.accessModes",
    ),
    "an unknown access mode": (
        shaped("storage", accessModes=["ReadNever"]),
        'Unsupported value: "ReadNever": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", '
        '"ReadWriteOncePod"', "spec.storage.accessModes",
    ),
    "a source and a populator": (
        dv(storage={"resources": {"requests": {"storage": "1Gi"}}, "dataSource": foreign()}),
        "External population is incompatible with Source and SourceRef", "spec.storage",
    ),
    "two populators": (
        populated(dataSource=foreign(), dataSourceRef=foreign("Other")),
        "DataSourceRef and DataSource must match", "spec.storage",
    ),
    "a populator without a name": (
        populated(dataSource=foreign(name="")), "Required value: DataSource name", "spec.storage.dataSource.name",
    ),
    "a populator without a group": (
        populated(dataSourceRef=foreign(apiGroup=None)),
        "Required value: DataSourceRef apiGroup when kind is not 'PersistentVolumeClaim'",
        "spec.storage.dataSourceRef.apiGroup",
    ),
    "a populator without a kind": (
        populated(dataSource=foreign(kind="")), "Required value: DataSource kind", "spec.storage.dataSource.kind",
    ),
    "a populator of a group that is not said": (
        populated(dataSource=foreign(apiGroup=None)),
        "Required value: DataSource apiGroup when kind is not 'PersistentVolumeClaim'",
        "spec.storage.dataSource.apiGroup",
    ),
    **{
        f"a referred populator without a {entry}": (
            populated(dataSourceRef=foreign(**{entry: ""})), f"Required value: DataSourceRef {entry}",
            f"spec.storage.dataSourceRef.{entry}",
        )
        for entry in ("name", "kind")
    },
    "a populator in another namespace": (
        populated(dataSourceRef=foreign(namespace="n")), "Invalid value: DataSourceRef namespace not supported",
        "spec.storage.dataSourceRef.namespace",
    ),
    "neither source nor sourceRef": (
        without("source"),
        "Data volume should have either Source or SourceRef, or be externally populated", "spec.source",
    ),
    "both source and sourceRef": (
        dv(sourceRef={"kind": "DataSource", "name": "s"}),
        "Data volume should have either Source or SourceRef, or be externally populated", "spec.source",
    ),
    "a sourceRef of another kind": (
        dv(None, sourceRef={"kind": "Image", "name": "s"}),
        "Unsupported sourceRef kind Image, currently only DataSource is supported", "spec.sourceRef.kind",
    ),
    "a sourceRef without a kind": (
        dv(None, sourceRef={"name": "s"}), "Missing sourceRef kind", "spec.sourceRef.kind",
    ),
    "a sourceRef without a name": (
        dv(None, sourceRef={"kind": "DataSource"}), "Missing sourceRef name", "spec.sourceRef.name",
    ),
    "an empty source": (dv({}), "Missing Data volume source", "spec.source"),
    "two sources": (
        dv({**HTTP, "blank": {}}), "Multiple Data volume sources: http, blank; keep one of them", "spec.source",
    ),
    "an unknown content type": (
        dv(contentType="zip"), "ContentType not one of: kubevirt, archive", "spec.contentType",
    ),
    "no URL": (http(""), "spec.source source URL is empty", "spec.source.http.url"),
    "a word for a URL": (http("nowhere"), "spec.source Invalid source URL: nowhere", "spec.source.http.url"),
    "a URL without a host": (
        http("https:///a.img"), "spec.source Invalid source URL: https:///a.img", "spec.source.http.url",
    ),
    "a URL with an impossible port": (
        http("http://h:99999/"), "spec.source Invalid source URL: http://h:99999/", "spec.source.http.url",
    ),
    "a URL with a blank": (
        http("http://h/a b"), "spec.source Invalid source URL: http://h/a b", "spec.source.http.url",
    ),
    "a URL with a line break": (
        http("http://h/a\nHost: x"), "spec.source Invalid source URL: http://h/a\nHost: x", "spec.source.http.url",
    ),
    "a URL of another scheme": (
        http("ftp://h/a"), "spec.source Invalid source URL scheme: ftp://h/a; expected one of http, https, gs",
        "spec.source.http.url",
    ),
    "a checksum without an algorithm": (
        summed(SUM), "Invalid checksum format: invalid checksum format: expected 'algorithm:hash', "
        f"got '{SUM}'", "spec.source.http.checksum",
    ),
    "a checksum of an unknown algorithm": (
        summed("crc:00"), "Invalid checksum format: unsupported hash algorithm 'crc': supported algorithms are: "
        "md5, sha1, sha256, sha512", "spec.source.http.checksum",
    ),
    "a checksum that is too short": (
        summed("sha256:00"), "Invalid checksum format: invalid sha256 hash length: expected 64 hex characters, got 2",
        "spec.source.http.checksum",
    ),
    "a checksum of other characters": (
        summed(f"md5:{'z' * 32}"), "Invalid checksum format: checksum hash is not valid hexadecimal: "
        "found 'z' at character 1",
        "spec.source.http.checksum",
    ),
    "a checksum without a hash": (
        summed("md5:"), "Invalid checksum format: checksum hash value cannot be empty", "spec.source.http.checksum",
    ),
    **{
        f"no URL of {kind}": (dv({kind: {}}), "spec.source source URL is empty", f"spec.source.{kind}.url")
        for kind in ("s3", "gcs", "imageio", "vddk")
    },
    "an object of another scheme": (
        dv({"s3": {"url": "s3://b/k"}}),
        "spec.source Invalid source URL scheme: s3://b/k; expected one of http, https, gs", "spec.source.s3.url",
    ),
    "a bucket without a name": (
        dv({"gcs": {"url": "gs:///o"}}), "spec.source Invalid source URL: gs:///o", "spec.source.gcs.url",
    ),
    "a blank archive": (
        dv({"blank": {}}, contentType="archive"),
        "SourceType cannot be blank and the contentType be archive", "spec.source.blank",
    ),
    "a registry without a place": (
        dv({"registry": {}}), "Source registry should have either URL or ImageStream", "spec.source.registry",
    ),
    "a registry in two places": (
        dv({"registry": {"url": "docker://r/i", "imageStream": "s"}}),
        "Source registry should have either URL or ImageStream", "spec.source.registry",
    ),
    "a word for an image": (
        dv({"registry": {"url": "debian"}}), "Illegal registry source URL debian", "spec.source.registry.url",
    ),
    "an image stream without a name": (
        dv({"registry": {"imageStream": "", "pullMethod": "node"}}), "Source registry ImageStream is not valid",
        "spec.source.registry.imageStream",
    ),
    "a registry of another scheme": (
        dv({"registry": {"url": "http://r/i"}}), "Illegal registry source URL scheme http://r/i",
        "spec.source.registry.url",
    ),
    "a registry archive": (
        dv({"registry": {"url": "docker://r/i"}}, contentType="archive"),
        "ContentType must be kubevirt when Source is Registry", "spec.contentType",
    ),
    "a registry pulled otherwise": (
        dv({"registry": {"url": "docker://r/i", "pullMethod": "mail"}}),
        'ImportMethod mail is neither pod, node or ""', "spec.source.registry.pullMethod",
    ),
    "an image stream pulled by a pod": (
        dv({"registry": {"imageStream": "s"}}),
        "Source registry ImageStream is supported only with node pull import method",
        "spec.source.registry.pullMethod",
    ),
    "an imageio disk without a disk": (
        dv({"imageio": {"url": "https://e/api"}}), "spec.source.Imageio source Imageio is not valid",
        "spec.source.imageio",
    ),
    "an imageio disk without a secret": (
        dv({"imageio": {"url": "https://e/api", "diskId": "1"}}), "spec.source.Imageio source Imageio is not valid",
        "spec.source.imageio",
    ),
    "an imageio disk that nobody vouches for": (
        dv({"imageio": {"url": "https://e/api", "secretRef": "s", "diskId": "1"}}),
        "spec.source.Imageio source Imageio requires CertConfigMap or InsecureSkipVerify", "spec.source.imageio",
    ),
    "a vddk disk without a thumbprint": (
        dv({"vddk": {"url": "https://v", "secretRef": "s", "uuid": "u", "backingFile": "f"}}),
        "spec.source.VDDK source VDDK is not valid", "spec.source.vddk.thumbprint",
    ),
    **{
        f"a vddk disk without its {field}": (
            dv({"vddk": {key: text for key, text in VDDK.items() if key != field}}),
            "spec.source.VDDK source VDDK is not valid", f"spec.source.vddk.{field}",
        )
        for field in ("secretRef", "uuid", "backingFile")
    },
    "a claim without a name": (
        dv({"pvc": {"namespace": "n"}}), "spec.source.PVC source PVC is not valid", "spec.source.pvc.name",
    ),
    "a claim without a namespace": (
        dv({"pvc": {"name": "n"}}), "spec.source.PVC source PVC is not valid", "spec.source.pvc.namespace",
    ),
    "a snapshot without a name": (
        dv({"snapshot": {"namespace": "n"}}), "spec.source.Snapshot source snapshot is not valid",
        "spec.source.snapshot.name",
    ),
    "no spec": (
        {key: part for key, part in dv().items() if key != "spec"}, "Missing Data volume PVC", "spec.storage",
    ),
    "both keys of a source, and nothing in them": (
        dv(None, sourceRef=None),
        "Data volume should have either Source or SourceRef, or be externally populated", "spec.source",
    ),
    "a snapshot without a namespace": (
        dv({"snapshot": {"name": "n"}}), "spec.source.Snapshot source snapshot is not valid",
        "spec.source.snapshot.namespace",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("obj", "message", "field"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(obj: Obj, message: str, field: str) -> None:
    found = causes(obj, None, Facts())
    assert [(each.message, each.field) for each in found] == [(message, field)]


ADMITTED: dict[str, Obj] = {
    "an image from the web": dv(),
    "a checksum": summed(f"sha256:{SUM}"),
    "a blank disk": dv({"blank": {}}),
    "an upload": dv({"upload": {}}),
    "a pvc": shaped("pvc"),
    "storage without modes": shaped("storage"),
    "storage with several modes": shaped("storage", accessModes=["ReadWriteOnce", "ReadWriteMany"]),
    "a leading zero": shaped("pvc", "0100Mi"),
    "a port and a query": http("http://h:8080/a?b=c"),
    "an address in brackets": http("http://[::1]:8080/a"),
    "a bucket": dv({"gcs": {"url": "gs://bucket/object"}}),
    "an object": dv({"s3": {"url": "https://s3.example/b/k", "secretRef": "s"}}),
    "a disk in oVirt": dv({"imageio": {**IMAGEIO, "certConfigMap": "roots"}}),
    "a disk in oVirt that nobody vouches for": dv({"imageio": {**IMAGEIO, "insecureSkipVerify": True}}),
    "a disk in vSphere": dv({"vddk": VDDK}),
    "an archive of images": dv({"registry": {"url": "oci-archive:/images/debian.tar"}}),
    "an image stream": dv({"registry": {"imageStream": "s", "pullMethod": "node"}}),
    "a container image": dv({"registry": {"url": "docker://r/i:1"}}),
    "an archive": dv({**HTTP}, contentType="archive"),
    "a clone without a size": {**shaped("storage", None), "spec": {
        "storage": {}, "source": {"pvc": {"namespace": "n", "name": "m"}},
    }},
    "a sourceRef": dv(None, sourceRef={"kind": "DataSource", "name": "s"}),
    "a populator": populated(dataSourceRef=foreign()),
    "a claim as read back from a server": populated(dataSource=foreign(), dataSourceRef=foreign()),
}  # fmt: skip


@pytest.mark.parametrize("obj", ADMITTED.values(), ids=ADMITTED.keys())
def test_admits(obj: Obj) -> None:
    assert causes(obj, None, Facts()) == ()


def test_the_spec_stays_as_it_was() -> None:
    found = causes(http("https://images.example/b.img"), dv(), Facts())
    assert [each.message for each in found] == ["Cannot update DataVolume Spec"]


def failing(phase: str, reason: str = "") -> Obj:
    """A DataVolume whose import stands so."""
    running = {"type": "Running", "status": "False", "reason": reason}
    return {**dv(), "status": {"phase": phase, "conditions": [running]}}


@pytest.mark.parametrize(
    "old", [failing("Failed"), failing("ImportInProgress", "Error")], ids=["failed", "retried"]
)
def test_another_source_may_be_named_where_an_import_fails(old: Obj) -> None:
    assert causes(http("https://images.example/b.img"), old, Facts()) == ()


@pytest.mark.parametrize("old", [failing("Succeeded", "Error"), failing("ImportInProgress", "Pending")])
def test_but_not_where_it_does_not(old: Obj) -> None:
    assert causes(http("https://images.example/b.img"), old, Facts())


def test_and_nothing_else_may_change_then() -> None:
    other = dv(priorityClassName="high")
    assert causes(other, failing("Failed"), Facts())
    assert causes(dv(source={"pvc": {"namespace": "n", "name": "c"}}), failing("Failed"), Facts())


def test_metadata_may_change() -> None:
    later = dv()
    later["metadata"]["labels"] = {"team": "blue"}
    assert causes(later, dv(), Facts()) == ()


def test_the_stages_of_a_warm_import_may_change() -> None:
    vddk = {"vddk": VDDK}
    assert causes(dv(vddk, checkpoints=[{"current": "1", "previous": ""}]), dv(vddk), Facts()) == ()


def test_a_claim_in_the_way_is_named() -> None:
    found = causes(dv(), None, Facts(claim=builders.claim("disk")))
    assert [each.message for each in found] == ["Destination PVC default/disk already exists"]


def test_a_claim_in_the_way_is_fine_when_it_is_to_be_adopted() -> None:
    claim, said, refused = builders.claim("disk"), dv(), dv()
    said["metadata"]["annotations"] = {cdi.ALLOW_ADOPTION: "true"}
    refused["metadata"]["annotations"] = {cdi.ALLOW_ADOPTION: "false"}
    assert causes(said, None, Facts(claim)) == ()
    assert causes(dv(), None, Facts(claim, adoption=True)) == ()
    assert causes(refused, None, Facts(claim, adoption=True))


def test_a_claim_in_the_way_is_fine_when_it_is_filled_already() -> None:
    filled, owned = builders.claim("disk"), builders.claim("disk")
    filled["metadata"]["annotations"] = {cdi.POPULATED_FOR: "disk"}
    owner = builders.stored(builders.data_volume("disk"))
    owned["metadata"]["ownerReferences"] = [meta.owner_reference(DATA_VOLUME, owner)]
    assert causes(dv(), None, Facts(filled)) == causes(dv(), None, Facts(owned)) == ()
