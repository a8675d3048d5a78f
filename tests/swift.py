"""OpenStack Swift with its S3 API in one process: prints its port when it answers.

Usage: `python -m tests.swift FOLDER REGION ACCOUNT:USER SECRET`. It refuses wrong secrets and wrong regions, as S3
does. Objects lie in memory, everything else below FOLDER.
"""

import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import eventlet
import swift.common.utils
from eventlet import wsgi
from swift.common.ring import RingBuilder
from swift.common.wsgi import loadapp

_SERVICES: Final = {"account": "account", "container": "container", "object": "mem_object"}
_PIPELINE: Final = """
[DEFAULT]
swift_dir = {folder}
log_level = ERROR
[pipeline:main]
pipeline = gatekeeper cache s3api tempauth slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{no_port}
[filter:s3api]
use = egg:swift#s3api
location = {region}
s3_acl = false
[filter:tempauth]
use = egg:swift#tempauth
user_{user} = {secret} .admin
[filter:slo]
use = egg:swift#slo
"""
_SERVICE: Final = """
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
log_level = ERROR
[app:main]
use = egg:swift#{app}
"""


@dataclass(frozen=True)
class Owner:
    """The only user, and the region where its buckets are."""

    region: str
    user: str
    secret: str


def main(folder: Path, owner: Owner) -> None:
    """Serve until killed."""
    swift.common.utils.eventlet_monkey_patch()
    (folder / "devices/disk").mkdir(parents=True)
    (folder / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = suffix\n[storage-policy:0]\nname = one\ndefault = yes\n"
    )
    swift.common.utils.SWIFT_CONF_FILE = str(folder / "swift.conf")
    listeners = {name: eventlet.listen(("127.0.0.1", 0)) for name in (*_SERVICES, "proxy")}
    for name in _SERVICES:
        ring(folder, name, listeners[name].getsockname()[1])
    for name, listener in listeners.items():
        eventlet.spawn(wsgi.server, listener, app(folder, name, owner), log_output=False)
    print(listeners["proxy"].getsockname()[1], flush=True)
    eventlet.hubs.get_hub().switch()


def app(folder: Path, name: str, owner: Owner) -> Any:
    """A server of Swift's as a WSGI application."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        no_port = free.getsockname()[1]
    template = _SERVICE if name in _SERVICES else _PIPELINE
    values = {"app": _SERVICES.get(name), "no_port": no_port, "user": owner.user.replace(":", "_")}
    path = folder / f"{name}-server.conf"
    path.write_text(template.format(folder=folder, region=owner.region, secret=owner.secret, **values))
    return loadapp(str(path))


def ring(folder: Path, name: str, port: int) -> None:
    """Where a service's only device is."""
    builder = RingBuilder(4, 1, 0)
    builder.add_dev(
        {"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "disk", "weight": 1, "id": 0}
    )
    builder.rebalance()
    builder.get_ring().save(str(folder / f"{name}.ring.gz"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Owner(*sys.argv[2:]))
