"""Volumes made of objects hold what these say, also when they change under a running pod."""

import os
import time
from pathlib import Path

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, SECRET, SERVICE_ACCOUNT, Key, Obj
from tests import builders
from tests.builders import eventually, some
from tests.standalone.node.yard import Yard, python, shell

WAITING = "import time; print('up'); time.sleep(1000)"
TOKEN = {"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 3600}}


def mounted(*sources: Obj, **more: object) -> tuple[Obj, list[Obj]]:
    """A mount at /v, and the projected volume behind it."""
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    return mount, [{"name": "v", "projected": {"sources": list(sources), **more}}]


def folder(yard: Yard, pod: str) -> Path:
    return yard.path / "pods" / meta.uid(yard.pod(pod)) / "volumes" / "kubernetes.io~projected" / "v"


def test_one_volume_holds_several_kinds_with_their_modes(yard: Yard) -> None:
    yard.store.create(SECRET, builders.secret("words", first="hush"))
    yard.store.create(CONFIG_MAP, builders.config_map("plan", a="1"))
    limit = {"path": "room", "resourceFieldRef": {"containerName": "main", "resource": "limits.memory"}}
    label = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    mount, volumes = mounted(
        {"secret": {"name": "words", "items": [{"key": "first", "path": "deep/word", "mode": 0o600}]}},
        {"configMap": {"name": "plan"}},
        {"downwardAPI": {"items": [limit, label]}},
    )
    resources = {"limits": {"memory": "64Mi"}}
    script = "cd /v; cat deep/word a room labels; stat -Lc %a deep/word a"
    one = shell("one", script, container={**mount, "resources": resources}, volumes=volumes)
    one["metadata"]["labels"] = {"app": "a-b"}
    yard.run(one)

    yard.until("one", "Succeeded")

    assert yard.log("one") == f'hush1{64 << 20}app="a-b"600\n644\n'


def test_a_token_is_for_its_audience_and_ends_with_the_pod(yard: Yard) -> None:
    yard.store.create(SERVICE_ACCOUNT, some(SERVICE_ACCOUNT, "worker"))
    mount, volumes = mounted(TOKEN)
    yard.run(shell("one", "cat /v/token", container=mount, volumes=volumes, serviceAccountName="worker"))

    yard.until("one", "Succeeded")

    user, audiences = yard.accounts.user(yard.log("one"), ["vault"])
    assert (user.name, audiences) == ("system:serviceaccount:default:worker", ("vault",))
    assert user.extra["authentication.kubernetes.io/pod-name"] == ("one",)


def test_a_token_is_renewed_when_its_time_comes(yard: Yard) -> None:
    yard.store.create(SERVICE_ACCOUNT, some(SERVICE_ACCOUNT, "default"))
    mount, volumes = mounted(TOKEN)
    yard.run(python("one", WAITING, container=mount, volumes=volumes))
    yard.until_said("one", "up")
    token = folder(yard, "one") / "token"
    first, due = token.read_text(), token.stat().st_mtime

    os.utime(token, (0, 0))
    yard.controllers.wake(builders.POD, Key("one", "default"))

    eventually(lambda: token.read_text() != first, 60)
    assert 0.7 * 3600 < due - time.time() < 0.8 * 3600 + 1


def test_files_follow_their_objects_under_a_running_pod(yard: Yard) -> None:
    yard.store.create(CONFIG_MAP, builders.config_map("plan", a="1", b="2"))
    mount, volumes = mounted({"configMap": {"name": "plan"}})
    script = (
        "import os, time; print('up', flush=True)\n"
        "while sorted(os.listdir('/v')) != ['a', 'c'] or open('/v/a').read() != 'new': time.sleep(0.05)"
    )
    yard.run(python("one", script, container=mount, volumes=volumes))
    yard.until_said("one", "up")

    yard.store.patch(CONFIG_MAP, Key("plan", "default"), {"data": {"a": "new", "b": None, "c": "3"}})

    yard.until("one", "Succeeded")


def test_an_account_that_is_not_there_is_named(yard: Yard) -> None:
    mount, volumes = mounted(TOKEN)
    yard.run(shell("one", "true", container=mount, volumes=volumes, serviceAccountName="nobody"))

    told = eventually(lambda: yard.told("one").get("Failed", ""), 60)

    assert 'serviceaccounts "nobody" not found' in told


def test_a_limit_is_there_as_a_variable_too(yard: Yard) -> None:
    source = {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}
    container = {
        "env": [{"name": "ROOM", "valueFrom": source}],
        "resources": {"limits": {"memory": "64Mi"}},
    }
    yard.run(shell("one", "echo $ROOM", container=container))

    yard.until("one", "Succeeded")

    assert yard.log("one") == "64\n"
