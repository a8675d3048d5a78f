"""A guest that lets its users in over SSH, by the keys on its cloud-init disc, and answers datagrams."""

import subprocess
import tempfile
from pathlib import Path

from demo import image
from demo.agent import libraries
from tests.guest import NETWORKED

PROGRAMS = (Path("/usr/sbin/dropbear"), Path("/usr/bin/dropbearkey"), Path("/usr/bin/scp"))
LISTENS = """
mkdir -p /seed /dev/pts /etc/dropbear /root
mkdir -m 0700 /root/.ssh
mount -t devpts pts /dev/pts
mount -t iso9660 -o ro /dev/vdb /seed
echo 'root:*:0:0:root:/root:/bin/sh' > /etc/passwd
grep -o 'ssh-ed25519 [^" ]*' /seed/meta-data > /root/.ssh/authorized_keys
dropbearkey -t rsa -s 1024 -f /etc/dropbear/key > /dev/null 2>&1
dropbear -r /etc/dropbear/key
answers &
"""
"""Has the guest let in whose keys are on its second disk."""
DATAGRAMS = 5353
"""The port where it answers each datagram with `heard` and what it heard."""


def guest_image() -> Path:
    """A disk that boots into it, on a network."""
    with tempfile.TemporaryDirectory() as work:
        answers = Path(work, "answers")
        subprocess.run(["gcc", "-o", answers, Path(__file__).with_name("answers.c")], check=True)
        files = {f"usr/bin/{program.name}": program for program in (*PROGRAMS, answers)}
        for program in files.copy().values():
            files |= libraries(program)
        return image.build(image.CACHE, init_extra=LISTENS + NETWORKED, files=files)
