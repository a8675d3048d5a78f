"""What a container finds in /etc: who it is, where names lead. Pure."""

from diskyard.api.pod import WORKER_UID
from standalone.node.identity import Identity

_NOWHERE = "/usr/sbin/nologin"


def files(who: Identity, hostname: str, address: str, hosts: str) -> dict[str, str]:
    """Names and texts; `hosts` is the machine's own file."""
    users = f"root:x:0:0::/:{_NOWHERE}\nqemu:x:{WORKER_UID}:{WORKER_UID}::/tmp:{_NOWHERE}\n"
    if who.user != WORKER_UID:
        users += f"user:x:{who.user}:{who.group}::/tmp:{_NOWHERE}\n"
    groups = f"root:x:0:\nqemu:x:{WORKER_UID}:\n"
    further = dict.fromkeys(number for number in (who.group, *who.groups) if number != WORKER_UID)
    groups += "".join(f"group{number}:x:{number}:\n" for number in further)
    return {
        "passwd": users,
        "group": groups,
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
        "hostname": f"{hostname}\n",
        "hosts": f"{hosts}{address} {hostname}\n",
    }
