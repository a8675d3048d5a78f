"""The small discs that a guest reads: cloud-init's, and those with a Secret's or a ConfigMap's entries."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from diskyard.api.instance import Instance, Volume
from diskyard.api.names import kubevirt
from diskyard.errors import InvalidRequest
from vm_runtime.launcher import cloudinit, iso
from vm_runtime.launcher.place import Place

LABEL: Final = "cfgdata"
SYSPREP_LABEL: Final = "unattendCD"
ANSWERS: Final = ("autounattend.xml", "unattend.xml")
ENTRY_LIMIT: Final = 2 << 20
_ENTRIES: Final = {
    "secret": kubevirt.SECRETS_DIR,
    "configMap": kubevirt.CONFIG_MAPS_DIR,
    "downwardAPI": kubevirt.DOWNWARD_DIR,
    "sysprep": kubevirt.SYSPREP_DIR,
}
KINDS: Final = (*_ENTRIES, "serviceAccount", *cloudinit.DISCS)
"""The kinds of volume that are such a disc."""


def disc(instance: Instance, volume: Volume, place: Place) -> Path:
    """The disc of a volume, made on the spot. Raises InvalidRequest."""
    path = place.private / "discs" / f"{volume.name}.iso"
    label, files = _content(instance, volume, place)
    iso.write(path, label, files)
    return path


def _content(instance: Instance, volume: Volume, place: Place) -> tuple[str, Mapping[str, bytes]]:
    if volume.kind in cloudinit.DISCS:
        return _seed(instance, volume, place)
    if volume.kind == "serviceAccount":
        return LABEL, entries(place.service_account)
    files = entries(place.beneath(_ENTRIES[volume.kind]) / volume.name)
    if volume.kind != "sysprep":
        return str(volume.source.get("volumeLabel") or LABEL), files
    if not any(name.lower() in ANSWERS for name in files):
        raise InvalidRequest(
            f"volume {volume.name}: Sysprep drive should contain autounattend.xml or unattend.xml but neither were "
            f"found. It has {', '.join(sorted(files)) or 'nothing'}"
        )
    return SYSPREP_LABEL, files


def _seed(instance: Instance, volume: Volume, place: Place) -> tuple[str, Mapping[str, bytes]]:
    label, method, files = cloudinit.DISCS[volume.kind]
    secrets = place.beneath(kubevirt.SECRETS_DIR)
    keys = [
        text.decode(errors="replace").strip()
        for each in instance.credentials
        if each.method == method
        for _, text in sorted(entries(secrets / f"{each.secret}-access-cred").items())
    ]
    seed = cloudinit.seed(volume, keys, lambda name: entries(secrets / name))
    return label, files(instance, seed)


def entries(directory: Path) -> dict[str, bytes]:
    """The files that a Secret, a ConfigMap or the like has as a volume, by their paths in it.

    A kubelet's own names begin with two dots: what they hold is found by the links beside them.
    """
    found = {}
    for folder, inner, names in os.walk(directory, followlinks=True):
        inner[:] = sorted(name for name in inner if not name.startswith(".."))
        for path in (Path(folder, name) for name in sorted(names)):
            with path.open("rb") as file:
                found[str(path.relative_to(directory))] = file.read(ENTRY_LIMIT)
    return found
