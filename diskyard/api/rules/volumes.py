"""Admission of an instance's volumes: one rule for each kind. The texts are KubeVirt's, where it has one. Pure."""

import base64
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from diskyard.api import quantity
from diskyard.api.cloudinit import KINDS as CLOUD_INIT
from diskyard.api.cloudinit import broken
from diskyard.api.instance import CONTAINER_DISK, SEED_METHODS, part, parts
from diskyard.api.lending import POLICIES
from diskyard.api.meta import Obj
from diskyard.api.quantity import MIB
from diskyard.api.rules.disks import duplicates, misnamed
from diskyard.api.settings import HOST_DISK as GATE
from diskyard.errors import Cause, InvalidRequest

MOST: Final = 256
INLINE: Final = 2048
"""Bytes of cloud-init text in a manifest; more comes from a Secret."""
LABEL: Final = 32
"""Characters of a disc's label that ISO 9660 keeps."""
NOT_YET: Final = ("downwardMetrics", "memoryDump", "containerPath")
"""Kinds of volume that KubeVirt has and we do not serve yet."""

HOST_DISKS: Final = ("Disk", "DiskOrCreate")
GATE_CLOSED: Final = (
    "HostDisk feature gate is not enabled: add HostDisk to spec.configuration.developerConfiguration.featureGates of "
    "KubeVirt kubevirt/kubevirt, or to feature-gates in ConfigMap kubevirt/kubevirt-config"
)

Rule = Callable[[Obj, str], Iterator[Cause]]


def volume_causes(spec: Obj, at: str, gates: Collection[str] = ()) -> Iterator[Cause]:
    """What is wrong with the volumes of the spec at the path `at`, while these feature gates are open."""
    path = f"{at}.volumes"
    volumes = parts(spec, "volumes")
    if len(volumes) > MOST:
        yield Cause(f"{path} list exceeds the {MOST} element limit in length", path)
        return
    yield from duplicates(volumes, path)
    yield from _singles(volumes, path)
    yield from _credentials(spec, at)
    if parts(spec, "utilityVolumes"):
        text = "cannot create VMI with utility volumes in spec, utility volumes can only be added via hotplug"
        yield Cause(text, f"{at}.utilityVolumes")
    for number, volume in enumerate(volumes):
        place = f"{path}[{number}]"
        yield from misnamed(volume, place)
        yield from _source(volume, place)
        if volume.get("hostDisk") is not None and GATE not in gates:
            yield Cause(GATE_CLOSED, f"{place}.hostDisk")


def _source(volume: Obj, place: str) -> Iterator[Cause]:
    kinds = [kind for kind, value in volume.items() if kind != "name" and value is not None]
    if len(kinds) != 1:
        yield Cause(f"{place} must have exactly one source type set", place)
        return
    kind, source = kinds[0], part(volume, kinds[0])
    if kind in _RULES:
        yield from _RULES[kind](source, f"{place}.{kind}")
    else:
        known = "is not supported yet" if kind in NOT_YET else "is not a kind of volume"
        text = f"{place}.{kind} {known}: {', '.join(_RULES)} are"
        yield Cause(text, f"{place}.{kind}", "FieldValueNotSupported")


def _singles(volumes: list[Obj], path: str) -> Iterator[Cause]:
    """Kinds of which a guest can have one: a pod has one ServiceAccount."""
    if sum(part(each, "serviceAccount") != {} for each in volumes) > 1:
        yield Cause(f"{path} must have max one serviceAccount volume set", path)


def _needs(name: str) -> Rule:
    """A rule: the field of that name is set."""

    def rule(source: Obj, at: str) -> Iterator[Cause]:
        if not source.get(name):
            yield Cause(f"{at}.{name} is a required field", f"{at}.{name}", "FieldValueRequired")

    return rule


def _data_volume(source: Obj, at: str) -> Iterator[Cause]:
    if not source.get("name"):
        field = f"{at.removesuffix('.dataVolume')}.name"  # where KubeVirt says that it is
        yield Cause("DataVolume 'name' must be set", field, "FieldValueRequired")


def _ephemeral(source: Obj, at: str) -> Iterator[Cause]:
    claim = part(source, "persistentVolumeClaim")
    yield from _needs("claimName")(claim, f"{at}.persistentVolumeClaim")


def _size(source: Obj, at: str) -> Iterator[Cause]:
    field, said = f"{at}.capacity", source.get("capacity")
    if not said:
        yield Cause(f"{field} is a required field", field, "FieldValueRequired")
        return
    try:
        size = quantity.parse(said)
    except InvalidRequest as wrong:
        yield Cause(f"{field}: {wrong}", field)
        return
    if size < MIB:
        yield Cause(f"{field} '{said}' is too low: a disk has 1Mi at least", field)


def _container_disk(source: Obj, at: str) -> Iterator[Cause]:
    yield from _needs("image")(source, at)
    path, field = str(source.get("path") or ""), f"{at}.path"
    if path == "/":
        yield Cause(f"{field} must not point to root", field)
    elif path and (not path.startswith("/") or ".." in path.split("/") or path.endswith("/")):
        yield Cause(f"{field} must be an absolute path to a file without relative components", field)
    policy = str(source.get("imagePullPolicy") or POLICIES[0])
    if policy not in POLICIES:
        text = f"{at}.imagePullPolicy has invalid value '{policy}', allowed are {', '.join(POLICIES)}"
        yield Cause(text, f"{at}.imagePullPolicy")


def _host_disk(source: Obj, at: str) -> Iterator[Cause]:
    yield from _path(source, at)
    kind = str(source.get("type") or "")
    if kind not in HOST_DISKS:
        text = f"{at}.type has invalid value '{kind}', allowed are 'Disk' or 'DiskOrCreate'"
        yield Cause(text, f"{at}.type")
    if kind == HOST_DISKS[1]:
        yield from _size(source, at)
    elif source.get("capacity"):
        text = f"{at}.capacity is allowed to pass only with {at}.type equal to 'DiskOrCreate'"
        yield Cause(text, f"{at}.capacity")


def _path(source: Obj, at: str) -> Iterator[Cause]:
    path, field = str(source.get("path") or ""), f"{at}.path"
    if not path:
        yield Cause(f"{field} is required for hostDisk volume", field, "FieldValueRequired")
    elif path == "/":
        yield Cause(f"{field} must not point to root", field)
    elif not path.startswith("/") or {".", ".."} & set(path.split("/")) or path.endswith("/") or "//" in path:
        yield Cause(f"{field} must be an absolute path to a file without relative components", field)


def _labelled(name: str) -> Rule:
    """A rule: the field of that name is set, and the disc's label fits."""

    def rule(source: Obj, at: str) -> Iterator[Cause]:
        yield from _needs(name)(source, at)
        yield from _label(source, at)

    return rule


def _downward(source: Obj, at: str) -> Iterator[Cause]:
    yield from _label(source, at)
    for number, each in enumerate(parts(source, "fields")):
        place = f"{at}.fields[{number}]"
        yield from _needs("path")(each, place)
        if not part(each, "fieldRef").get("fieldPath"):
            text = f"{place}.fieldRef.fieldPath is a required field"
            yield Cause(text, f"{place}.fieldRef.fieldPath", "FieldValueRequired")


def _label(source: Obj, at: str) -> Iterator[Cause]:
    label, field = str(source.get("volumeLabel") or ""), f"{at}.volumeLabel"
    if len(label) > LABEL or not label.isascii():
        yield Cause(f"{field} '{label[:64]}' must have at most {LABEL} characters of ASCII", field)


def _sysprep(source: Obj, at: str) -> Iterator[Cause]:
    given = [name for name in ("secret", "configMap") if source.get(name) is not None]
    if len(given) != 1:
        yield Cause(f"{at} must have exactly one of secret and configMap", at, "FieldValueRequired")
    for name in given:
        yield from _needs("name")(part(source, name), f"{at}.{name}")


def _cloud_init(source: Obj, at: str) -> Iterator[Cause]:
    found = [cause for which in ("user", "network") for cause in _document(source, at, which)]
    yield from found
    if not found and not any(_said(source, which) for which in ("user", "network")):
        text = f"{at} must have at least one userdatasource or one networkdatasource set."
        yield Cause(text, at, "FieldValueRequired")


def _document(source: Obj, at: str, which: str) -> Iterator[Cause]:
    said = _said(source, which)
    if len(said) > 1:
        yield Cause(f"{at} must have only one {which}datasource set.", at)
        return
    encoded, field = f"{which}DataBase64", f"{at}.{next(iter(said), '')}"
    content = str(source.get(f"{which}Data") or "").encode()
    if encoded in said:
        try:
            content = base64.b64decode(str(source[encoded]), validate=True)
        except ValueError:
            yield Cause(f"{field} is not a valid base64 value.", field)
            return
    if len(content) > INLINE:
        reference = "UserDataSecretRef" if which == "user" else "NetworkDataSecretRef"
        text = f"{at} {which}data exceeds {INLINE} byte limit. Should use {reference} for larger data."
        yield Cause(text, field)
    wrong = broken(content) if which == "user" else ""
    if wrong:
        yield Cause(f"{field} begins with #cloud-config and is no YAML: {wrong}", field)
    for reference in said:
        if reference.endswith("Ref"):
            yield from _needs("name")(part(source, reference), f"{at}.{reference}")


def _said(source: Obj, which: str) -> list[str]:
    reference = "secretRef" if which == "user" else "networkDataSecretRef"
    return [name for name in (reference, f"{which}DataBase64", f"{which}Data") if source.get(name)]


def _credentials(spec: Obj, at: str) -> Iterator[Cause]:
    """Credentials that a disc brings need that disc; those that a guest agent sets are not served yet."""
    volumes = parts(spec, "volumes")
    discs = {
        kind.removeprefix("cloudInit").lower() for kind in CLOUD_INIT if any(kind in each for each in volumes)
    }
    for number, each in enumerate(parts(spec, "accessCredentials")):
        place = f"{at}.accessCredentials[{number}]"
        said = part(each, "sshPublicKey")
        given = [name for name, value in part(said, "propagationMethod").items() if value is not None]
        if each.get("userPassword") is not None or "qemuGuestAgent" in given:
            text = (
                f"{place} by the guest agent is not supported yet: sshPublicKey by noCloud or configDrive is"
            )
            yield Cause(text, place, "FieldValueNotSupported")
            continue
        secret = part(part(said, "source"), "secret")
        yield from _needs("secretName")(secret, f"{place}.sshPublicKey.source.secret")
        if len(given) != 1 or given[0] not in SEED_METHODS:
            text = (
                f"{place}.sshPublicKey.propagationMethod must be exactly one of {' and '.join(SEED_METHODS)}"
            )
            yield Cause(text, f"{place}.sshPublicKey.propagationMethod")
        elif given[0].lower() not in discs:
            kind = f"cloudInit{given[0][0].upper()}{given[0][1:]}"
            text = f"{place} is to come by {given[0]}, and there is no volume of the kind {kind}"
            yield Cause(text, f"{place}.sshPublicKey.propagationMethod")


_RULES: Final[Mapping[str, Rule]] = {
    "persistentVolumeClaim": _needs("claimName"),
    "dataVolume": _data_volume,
    "ephemeral": _ephemeral,
    CONTAINER_DISK: _container_disk,
    "emptyDisk": _size,
    "hostDisk": _host_disk,
    "cloudInitNoCloud": _cloud_init,
    "cloudInitConfigDrive": _cloud_init,
    "sysprep": _sysprep,
    "configMap": _labelled("name"),
    "secret": _labelled("secretName"),
    "downwardAPI": _downward,
    "serviceAccount": _needs("serviceAccountName"),
}
"""The kinds of volume that are served."""
