"""What is on a cloud-init disc: NoCloud's files, or an OpenStack configuration drive. Pure.

Formats: https://cloudinit.readthedocs.io/en/latest/reference/datasources/{nocloud,configdrive}.html
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from diskyard.api.cloudinit import broken
from diskyard.api.instance import Instance, Volume, mac, parts
from diskyard.api.meta import Obj
from diskyard.errors import InvalidRequest

Read = Callable[[str], Mapping[str, bytes]]
"""The entries of what is mounted for a volume, by that volume's name."""


@dataclass(frozen=True)
class Seed:
    """What a guest is told at its first boot."""

    user: bytes = b""
    network: bytes = b""
    keys: Sequence[str] = ()
    """Public SSH keys."""


def seed(volume: Volume, keys: Sequence[str], read: Read) -> Seed:
    """What a volume says; a Secret before text, text before base64. Raises InvalidRequest."""
    user = _document(volume, "user", "secretRef", read)
    network = _document(volume, "network", "networkDataSecretRef", read)
    wrong = broken(user)
    if wrong:
        raise InvalidRequest(
            f"volume {volume.name}: its user data begins with #cloud-config and is no YAML: {wrong}"
        )
    return Seed(user, network, keys)


def no_cloud(instance: Instance, seed: Seed) -> dict[str, bytes]:
    """The files of a NoCloud disc, whose label is `cidata`."""
    about: dict[str, Any] = {"instance-id": instance.firmware_uuid, "local-hostname": instance.hostname}
    if instance.type_name:
        about["instance-type"] = instance.type_name
    if seed.keys:
        about["public-keys"] = dict(_numbered(seed.keys))
    files = {"meta-data": _json(about), "user-data": seed.user}
    return {**files, "network-config": seed.network} if seed.network else files


def config_drive(instance: Instance, seed: Seed) -> dict[str, bytes]:
    """The files of a configuration drive, whose label is `config-2`."""
    about: dict[str, Any] = {
        "instance_id": f"{instance.name}.{instance.namespace}",
        "hostname": instance.hostname,
        "uuid": instance.firmware_uuid,
    }
    if instance.type_name:
        about["instance_type"] = instance.type_name
    if instance.interfaces:
        about["devices"] = [
            {"type": "nic", "mac": mac(instance, each), **_tags(said)}
            for each, said in zip(instance.interfaces, parts(instance.devices, "interfaces"), strict=True)
        ]
    if seed.keys:
        about["public_keys"] = dict(_numbered(seed.keys))
    files = {"openstack/latest/meta_data.json": _json(about)}
    if seed.user:
        files["openstack/latest/user_data"] = seed.user
    if seed.network:
        files["openstack/latest/network_data.json"] = seed.network
    return files


DISCS: Final[Mapping[str, tuple[str, str, Callable[[Instance, Seed], dict[str, bytes]]]]] = {
    "cloudInitNoCloud": ("cidata", "noCloud", no_cloud),
    "cloudInitConfigDrive": ("config-2", "configDrive", config_drive),
}
"""Kind of volume -> (label, how public keys call it, files)."""


def _tags(interface: Obj) -> dict[str, list[str]]:
    return {"tags": [str(interface["tag"])]} if interface.get("tag") else {}


def _document(volume: Volume, which: str, reference: str, read: Read) -> bytes:
    """`which`: `user` or `network`."""
    said: Obj = volume.source
    if said.get(reference):
        return _entry(volume, which, read)
    text = said.get(f"{which}Data")
    if text:
        return str(text).encode()
    try:
        return base64.b64decode(str(said.get(f"{which}DataBase64") or ""), validate=True)
    except ValueError as wrong:
        raise InvalidRequest(f"volume {volume.name}: {which}DataBase64 is not base64: {wrong}") from wrong


def _entry(volume: Volume, which: str, read: Read) -> bytes:
    entries = read(f"{volume.name}-{which[0]}data")
    names = (f"{which}data", f"{which}Data")
    found = next((entries[name] for name in names if name in entries), None)
    if found is None:
        held = ", ".join(sorted(entries)) or "nothing"
        raise InvalidRequest(
            f"volume {volume.name}: its Secret must have the key {names[0]} or {names[1]}, and has {held}"
        )
    return found


def _numbered(keys: Sequence[str]) -> list[tuple[str, str]]:
    return [(str(number), key) for number, key in enumerate(keys)]


def _json(content: object) -> bytes:
    return json.dumps(content, indent=1).encode()
