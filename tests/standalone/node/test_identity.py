"""A container runs as whom its security context says, within what this node allows."""

import os
from pathlib import Path

import pytest

from diskyard import IMAGE
from diskyard.api import meta
from diskyard.api.meta import CLAIM
from tests import builders
from tests.standalone.node.yard import Yard, shell

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="an ordinary user is one user, whatever it is called"
)
WHO = "id -u; id -g; id -G; grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status"
MOUNT = {"volumeMounts": [{"name": "d", "mountPath": "/data"}]}
VOLUMES = [{"name": "d", "persistentVolumeClaim": {"claimName": "disk"}}]


def test_it_is_that_user_and_in_those_groups_without_any_capability(yard: Yard) -> None:
    whole = {"runAsUser": 4000, "runAsGroup": 5000, "fsGroup": 6000, "supplementalGroups": [7000]}
    own = {"securityContext": {"runAsUser": 4001, "capabilities": {"drop": ["ALL"]}}}
    yard.run(shell("one", WHO, container=own, securityContext=whole))

    yard.until("one", "Succeeded")

    user, group, groups, *rights = yard.log("one").splitlines()
    assert (user, group, set(groups.split())) == ("4001", "5000", {"5000", "6000", "7000"})
    assert [line.split()[1] for line in rights] == ["0" * 16, "0" * 16, "1"]


def test_a_volume_belongs_to_the_group_that_the_pod_names(yard: Yard) -> None:
    yard.store.create(CLAIM, builders.claim("disk"))
    whole = {"runAsUser": 4000, "runAsGroup": 4000, "fsGroup": 6000}
    script = "echo bytes > /data/disk.img; stat -c %g /data/disk.img"

    yard.run(shell("one", script, container=MOUNT, volumes=VOLUMES, securityContext=whole))

    yard.until("one", "Succeeded")
    assert yard.log("one") == "6000\n"


def test_what_lies_in_a_volume_changes_its_group_and_no_link_is_followed(yard: Yard, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("")
    outside.chmod(0o600)
    yard.store.create(CLAIM, builders.claim("disk"))
    script = f"mkdir /data/a; touch /data/a/b; ln -s {outside} /data/link"
    yard.run(shell("one", script, container=MOUNT, volumes=VOLUMES))
    yard.until("one", "Succeeded")

    whole = {"runAsUser": 4000, "fsGroup": 6000}
    look = "cd /data; stat -c '%n %g %a' a a/b"
    yard.run(shell("two", look, container=MOUNT, volumes=VOLUMES, securityContext=whole))

    yard.until("two", "Succeeded")
    assert yard.log("two") == "a 6000 2775\na/b 6000 664\n"
    assert (outside.stat().st_gid, outside.stat().st_mode & 0o777) == (0, 0o600)


def test_a_read_only_root_is_one_but_for_what_is_mounted(yard: Yard) -> None:
    script = "for d in / /tmp /var/tmp /etc /scratch; do touch $d/x 2>/dev/null && echo $d; done; true"
    own = {
        "securityContext": {"readOnlyRootFilesystem": True},
        "volumeMounts": [{"name": "s", "mountPath": "/scratch"}],
    }
    yard.run(shell("one", script, container=own, volumes=[{"name": "s", "emptyDir": {}}]))

    yard.until("one", "Succeeded")

    assert yard.log("one") == "/scratch\n"


def test_containers_of_one_pod_may_be_different_users_and_share_a_volume(yard: Yard) -> None:
    mount = [{"name": "s", "mountPath": "/s"}]
    first = {
        "name": "first", "image": IMAGE, "command": ["sh", "-c", "id -u > /s/first"], "volumeMounts": mount,
        "securityContext": {"runAsUser": 4000},
    }  # fmt: skip
    main = {"volumeMounts": mount, "securityContext": {"runAsUser": 4001}}
    script = "cat /s/first; id -u > /s/second; cat /s/second; id -un"
    yard.run(
        shell("one", script, container=main, volumes=[{"name": "s", "emptyDir": {}}], initContainers=[first])
    )

    pod = yard.until("one", "Succeeded")

    assert yard.log("one") == "4000\n4001\nuser\n", meta.status(pod)
