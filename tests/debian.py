"""A Debian made from packages, with the real cloud-init: made once, kept in the cache. Needs root and mmdebstrap."""

import fcntl
import hashlib
import tempfile
from pathlib import Path
from typing import Final

from demo import image
from demo.command import run

PACKAGES: Final = (
    "cloud-init,systemd-sysv,udev,dbus,openssh-server,iproute2,sudo,kmod,ifupdown,isc-dhcp-client"
)
SUITE: Final = "bookworm"
SIZE: Final = "1400M"
LEFT_OUT: Final = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
START: Final = """
mkdir -p /root && mount -t ext4 /dev/vdb /root && umount /proc /sys && mount --move /dev /root/dev
exec switch_root /root /sbin/init
"""
"""What the demo's first disk does here: start the system on the second."""


def boot_disk() -> Path:
    """The first disk: a kernel, and what finds the second."""
    return image.build(image.CACHE, init_extra=START)


def system_disk() -> Path:
    """The second: the system itself, raw, in one ext4."""
    folder = image.CACHE.parent / "debian"
    folder.mkdir(parents=True, exist_ok=True)
    recipe = hashlib.sha256(f"{SUITE} {PACKAGES} {SIZE} {LEFT_OUT}".encode()).hexdigest()[:12]
    disk = folder / f"{SUITE}-{recipe}.img"
    with (folder / "lock").open("w") as lock, tempfile.TemporaryDirectory(dir=folder) as work:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not disk.exists():
            root, part = Path(work, "root"), Path(work, "part")
            options = [f"--dpkgopt=path-exclude={each}" for each in LEFT_OUT]
            run("mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", *options, SUITE, root)
            run("mke2fs", "-q", "-t", "ext4", "-d", root, part, SIZE)
            part.rename(disk)
    return disk
