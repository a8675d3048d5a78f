"""Devices, addresses and rules of the kernel's network, by `ip` and `nft`, in a namespace or outside of all."""

import json
import socket
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from diskyard.errors import Passing

NAMESPACES: Final = Path("/run/netns")
"""Where `ip netns` keeps them."""
PATIENCE: Final = 20.0
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def ip(*words: str, namespace: str = "") -> str:
    """What one command of `ip` says. Raises Passing."""
    return _run(["ip", *_inside(namespace), *words])


def shown(*words: str, namespace: str = "") -> list[dict[str, Any]]:
    """What `ip` shows, parsed. Raises Passing."""
    found: list[dict[str, Any]] = json.loads(ip("-json", *words, namespace=namespace) or "[]")
    return found


def batch(commands: Iterable[str], namespace: str = "") -> None:
    """Carry out several commands of `ip`, up to the first that fails. Raises Passing."""
    _run(["ip", *_inside(namespace), "-batch", "-"], "\n".join(commands) + "\n")


def nft(text: str, namespace: str = "") -> None:
    """Have these rules, all or none. Raises Passing."""
    _run([*entered(namespace), "nft", "-f", "-"], text)


def listed(*words: str, namespace: str = "") -> list[dict[str, Any]]:
    """What `nft` lists, parsed. Raises Passing."""
    said = json.loads(_run([*entered(namespace), "nft", "--json", "--handle", "list", *words]))
    found: list[dict[str, Any]] = said["nftables"]
    return found


def there(device: str) -> bool:
    """Whether there is such a device here."""
    try:
        socket.if_nametoindex(device)
    except OSError:
        return False
    return True


def command(*words: str) -> str:
    """What another program says. Raises Passing."""
    return _run(words)


def write(settings: dict[str, str], namespace: str = "") -> None:
    """Set files below /proc/sys/net. Raises Passing."""
    script = 'while [ $# -gt 1 ]; do echo "$2" > "/proc/sys/net/$1" || exit 1; shift 2; done'
    words = [word for pair in settings.items() for word in pair]
    _run([*entered(namespace), "sh", "-c", script, "sh", *words])


def entered(namespace: str) -> Sequence[str]:
    """What a command begins with that is to run in a namespace."""
    return ("nsenter", f"--net={NAMESPACES / namespace}", "--") if namespace else ()


def _inside(namespace: str) -> Sequence[str]:
    return ("-netns", namespace) if namespace else ()


def _run(command: Sequence[str], given: str = "") -> str:
    try:
        done = subprocess.run(
            command,
            input=given,
            env={"PATH": _PATH, "LC_ALL": "C"},
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except FileNotFoundError as error:
        raise Passing(
            f"{command[0]} is not installed: guests' networks need iproute2, nftables and util-linux"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise Passing(f"{command[0]} did not end within {PATIENCE:.0f} s: {' '.join(command)}") from error
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or f"code {error.returncode}").strip()[:500]
        raise Passing(f"{' '.join(command)}: {said}") from error
    return done.stdout
