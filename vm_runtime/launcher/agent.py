"""What the agent inside the guest says, in KubeVirt's words: of libvirt's flat figures, objects. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

Figures = Mapping[str, Any]
"""As virDomainGetGuestInfo has them: `os.name`, `user.0.name`, `fs.1.disk.0.serial` ..."""
_OS = {
    "name": "name",
    "kernelRelease": "kernel-release",
    "version": "version",
    "prettyName": "pretty-name",
    "versionId": "version-id",
    "kernelVersion": "kernel-version",
    "machine": "machine",
    "id": "id",
}


def system(found: Figures, about: Mapping[str, Any], frozen: str) -> dict[str, Any]:
    """guestosinfo; `about`: what the agent says of itself (guest-info)."""
    commands = about.get("supported_commands") or ()
    return {
        "guestAgentVersion": str(about.get("version") or ""),
        "supportedCommands": [
            {"name": str(each.get("name")), "enabled": bool(each.get("enabled"))} for each in commands
        ],
        "hostname": str(found.get("hostname") or ""),
        "os": {name: str(found[f"os.{key}"]) for name, key in _OS.items() if found.get(f"os.{key}")},
        "timezone": _timezone(found),
        "userList": list(users(found)),
        "fsInfo": {"disks": list(filesystems(found))},
        **({"fsFreezeStatus": frozen} if frozen else {}),
    }


def users(found: Figures) -> Iterator[dict[str, Any]]:
    """Who is logged in."""
    for at in _each(found, "user"):
        since = int(found.get(f"{at}.login-time") or 0) / 1000
        domain = {"domain": found[f"{at}.domain"]} if found.get(f"{at}.domain") else {}
        yield {"userName": str(found.get(f"{at}.name") or ""), **domain, "loginTime": since}


def filesystems(found: Figures) -> Iterator[dict[str, Any]]:
    """What is mounted."""
    for at in _each(found, "fs"):
        yield {
            "diskName": str(found.get(f"{at}.name") or ""),
            "mountPoint": str(found.get(f"{at}.mountpoint") or ""),
            "fileSystemType": str(found.get(f"{at}.fstype") or ""),
            "usedBytes": int(found.get(f"{at}.used-bytes") or 0),
            "totalBytes": int(found.get(f"{at}.total-bytes") or 0),
            "disk": [
                {"serial": str(found[f"{disk}.serial"])} if found.get(f"{disk}.serial") else {}
                for disk in _each(found, f"{at}.disk")
            ],
        }


def _each(found: Figures, kind: str) -> list[str]:
    return [f"{kind}.{number}" for number in range(int(found.get(f"{kind}.count") or 0))]


def _timezone(found: Figures) -> str:
    name, offset = found.get("timezone.name"), found.get("timezone.offset")
    return f"{name}, {offset}" if name else ""
