"""Pods run as processes, and their status says what a kubelet's would."""

import os
import signal
from pathlib import Path

import pytest

from diskyard import IMAGE
from diskyard.api import meta
from diskyard.api.meta import CLAIM, CONFIG_MAP, POD, SECRET, Key
from diskyard.api.names.cdi import SELECTED_NODE
from diskyard.kube.client import Deletion
from tests import builders
from tests.builders import eventually
from tests.standalone.node.yard import Yard, opened, python, shell

FOREVER = "import time; print('up'); time.sleep(1000)"
POLITE = (
    "import signal, sys, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: (print('bye'), sys.exit(0)))\n"
    "print('up'); time.sleep(1000)"
)
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(1000)"
FIELD = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


def processes_that_say(words: str) -> list[int]:
    return [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if words.encode() in _bytes(path) and int(path.parent.name) != os.getpid()
    ]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes().replace(b"\0", b" ")
    except (FileNotFoundError, ProcessLookupError):
        return b""


def test_runs_a_worker_to_its_end_and_says_how_it_ended(yard: Yard) -> None:
    yard.run(shell("one", "echo hello; echo done > /dev/termination-log"))

    pod = yard.until("one", "Succeeded")

    ended = yard.state("one")["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (0, "Completed", "done\n")
    assert yard.log("one") == "hello\n"
    assert meta.spec(pod)["nodeName"] == "here"
    assert {c["type"]: c["status"] for c in meta.status(pod)["conditions"]} == {
        "PodScheduled": "True", "Initialized": "True", "ContainersReady": "False", "Ready": "False",
    }  # fmt: skip


def test_a_running_pod_is_ready_and_has_an_address_of_its_own(yard: Yard) -> None:
    yard.run(python("one", FOREVER))
    yard.run(python("two", FOREVER))

    pods = [yard.until(name, "Running") for name in ("one", "two")]

    assert all(meta.holds(pod, "Ready") for pod in pods)
    addresses = {meta.status(pod)["podIP"] for pod in pods}
    assert len(addresses) == 2
    assert all(address.startswith("127.") for address in addresses)


def test_a_server_in_a_pod_listens_on_the_pods_address(yard: Yard) -> None:
    script = (
        "import os, socket; socket.create_server((os.environ['POD_IP'], 8443)); print(os.environ['POD_IP'])"
    )
    yard.run(python("one", script, container={"env": [FIELD]}))

    pod = yard.until("one", "Succeeded")

    assert yard.log("one").strip() == meta.status(pod)["podIP"]


def test_events_tell_the_story_of_a_pod(yard: Yard) -> None:
    yard.run(shell("one", "true"))

    yard.until("one", "Succeeded")

    told = eventually(lambda: len(yard.told("one")) == 4 and yard.told("one"))
    assert told == {
        "Scheduled": "Successfully assigned default/one to here",
        "Pulled": f'Container image "{IMAGE}" already present on machine',
        "Created": "Created container: main",
        "Started": "Started container main",
    }


def test_a_failed_worker_says_the_end_of_its_log_when_it_left_no_message(yard: Yard) -> None:
    policy = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    yard.run(shell("one", "echo no such image >&2; exit 3", container=policy))

    yard.until("one", "Failed")

    ended = yard.state("one")["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (3, "Error", "no such image\n")


def test_a_worker_that_fails_runs_again_with_longer_and_longer_pauses(yard: Yard) -> None:
    yard.run(shell("one", "echo again; exit 1", restartPolicy="OnFailure"))

    sentence = yard.until_waiting("one", "CrashLoopBackOff")
    eventually(lambda: yard.container("one")["restartCount"] >= 2)

    assert sentence.startswith("back-off 0s restarting failed container=main pod=one_default(")
    assert yard.container("one")["lastState"]["terminated"]["exitCode"] == 1
    assert yard.log("one", previous=True) == "again\n"
    assert "Back-off restarting failed container main" in yard.told("one")["BackOff"]


def test_a_worker_that_succeeds_at_last_is_over(yard: Yard) -> None:
    script = "test -e /scratch/seen && exit 0; touch /scratch/seen; exit 1"
    mount = {"volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}
    volumes = [{"name": "scratch", "emptyDir": {}}]
    yard.run(shell("one", script, container=mount, restartPolicy="OnFailure", volumes=volumes))

    yard.until("one", "Succeeded")

    assert yard.container("one")["restartCount"] == 1


def test_an_image_that_is_not_ours_is_refused_with_a_sentence(yard: Yard) -> None:
    yard.run(shell("one", "true", container={"image": "nginx"}))

    sentence = yard.until_waiting("one", "ImagePullBackOff")

    assert f"this node runs only {IMAGE}" in sentence
    assert 'failed to pull image "nginx"' in yard.told("one")["Failed"]


def test_a_pod_of_another_version_runs_in_this_installation(yard: Yard) -> None:
    yard.run(shell("one", "true", container={"image": f"{IMAGE.partition(':')[0]}:0.0.1"}))

    yard.until("one", "Succeeded")


def test_a_pod_waits_for_a_missing_secret_and_starts_when_it_comes(yard: Yard) -> None:
    ref = {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "words", "key": "first"}}}
    yard.run(shell("one", "echo $WORD", container={"env": [ref]}))
    sentence = yard.until_waiting("one", "CreateContainerConfigError")

    yard.store.create(SECRET, builders.secret("words", first="hush"))

    yard.until("one", "Succeeded")
    assert sentence == 'secret "words" not found'
    assert yard.log("one") == "hush\n"


def test_an_optional_secret_may_be_missing(yard: Yard) -> None:
    ref = {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "no", "key": "no", "optional": True}}}
    yard.run(shell("one", "echo [$WORD]", container={"env": [ref]}))

    yard.until("one", "Succeeded")

    assert yard.log("one") == "[]\n"


def test_secrets_config_maps_and_fields_come_as_files(yard: Yard) -> None:
    yard.store.create(SECRET, builders.secret("words", first="hush"))
    yard.store.create(CONFIG_MAP, builders.config_map("certs", **{"ca.pem": "PEM"}))
    item = {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}
    volumes = [
        {"name": "a", "secret": {"secretName": "words"}},
        {"name": "b", "configMap": {"name": "certs"}},
        {"name": "c", "downwardAPI": {"items": [item]}},
    ]
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in "abc"]
    script = "cat /a/first /b/ca.pem /c/name; touch /a/x 2>/dev/null || echo read-only"
    yard.run(shell("one", script, container={"volumeMounts": mounts}, volumes=volumes))

    yard.until("one", "Succeeded")

    assert yard.log("one") == "hushPEMoneread-only\n"


def test_a_claim_is_at_its_mount_path_and_outlives_the_pod(yard: Yard) -> None:
    yard.store.create(CLAIM, builders.claim("disk"))
    mount = {"volumeMounts": [{"name": "d", "mountPath": "/data"}]}
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "disk"}}]
    yard.run(shell("one", "echo bytes > /data/disk.img", container=mount, volumes=volumes))
    yard.until("one", "Succeeded")

    yard.run(shell("two", "cat /data/disk.img", container=mount, volumes=volumes))

    yard.until("two", "Succeeded")
    assert yard.log("two") == "bytes\n"


def test_a_pod_whose_claim_is_missing_is_unschedulable_until_it_comes(yard: Yard) -> None:
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "disk"}}]
    yard.run(shell("one", "true", volumes=volumes))
    refused = eventually(lambda: meta.condition(yard.pod("one"), "PodScheduled"))

    yard.store.create(CLAIM, builders.claim("disk"))

    yard.until("one", "Succeeded")
    assert refused
    assert (refused["status"], refused["reason"]) == ("False", "Unschedulable")
    assert refused["message"] == '0/1 nodes are available: persistentvolumeclaim "disk" not found.'


def test_a_claim_that_waits_for_a_consumer_is_bound_by_the_pod(yard: Yard) -> None:
    yard.store.create(CLAIM, builders.claim("disk", storageClassName="local-wait"))
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "disk"}}]

    yard.run(shell("one", "true", volumes=volumes))

    yard.until("one", "Succeeded")
    claim = yard.store.get(CLAIM, Key("disk", "default"))
    assert meta.phase(claim) == "Bound"
    assert meta.annotations(claim)[SELECTED_NODE] == "here"


def test_init_containers_run_one_after_the_other_and_first(yard: Yard) -> None:
    mount = [{"name": "s", "mountPath": "/s"}]
    inits = [
        {"name": n, "image": IMAGE, "command": ["sh", "-c", f"echo {n} >> /s/log"], "volumeMounts": mount}
        for n in ("first", "second")
    ]
    volumes = [{"name": "s", "emptyDir": {}}]
    main = {"volumeMounts": mount}
    yard.run(shell("one", "cat /s/log", container=main, initContainers=inits, volumes=volumes))

    pod = yard.until("one", "Succeeded")

    assert yard.log("one") == "first\nsecond\n"
    assert [each["ready"] for each in meta.status(pod)["initContainerStatuses"]] == [True, True]


@pytest.mark.parametrize(
    ("container", "sentence"),
    [
        ({"securityContext": {"privileged": True}}, "privileged containers do not run on this node"),
        (
            {"securityContext": {"runAsUser": 0}},
            "expected securityContext.runAsUser from 1 to 2147483647, found 0",
        ),
        ({"securityContext": {"runAsGroup": 0}}, "containers never run as root on this node"),
        ({"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}, "grants no capabilities"),
        ({"securityContext": {"seccompProfile": {"type": "Localhost"}}}, "no seccomp profiles of its own"),
    ],
)
def test_a_container_that_asks_for_more_rights_is_refused(
    yard: Yard, container: dict[str, object], sentence: str
) -> None:
    yard.run(shell("one", "true", container=container))

    assert sentence in yard.until_waiting("one", "CreateContainerConfigError")


def test_a_deleted_pod_is_asked_first_and_goes_when_it_has_ended(yard: Yard) -> None:
    yard.run(python("one", POLITE))
    yard.until_said("one", "up")

    yard.store.delete(POD, Key("one", "default"))

    eventually(lambda: yard.gone("one"))
    eventually(lambda: not list((yard.path / "pods").iterdir()))
    assert yard.told("one")["Killing"] == "Stopping container main"


def test_a_pod_that_does_not_listen_is_killed_when_the_grace_is_over(yard: Yard) -> None:
    yard.run(python("one", STUBBORN, terminationGracePeriodSeconds=1))
    yard.until_said("one", "up")

    yard.store.delete(POD, Key("one", "default"))

    eventually(lambda: yard.gone("one"))


def test_a_pod_deleted_by_force_is_killed_although_it_is_gone(yard: Yard) -> None:
    yard.run(python("one", STUBBORN + " # by-force-7411"))
    yard.until_said("one", "up")

    yard.store.delete(POD, Key("one", "default"), Deletion(grace=0))

    eventually(lambda: not processes_that_say("by-force-7411"))
    eventually(lambda: not list((yard.path / "pods").iterdir()))


def test_a_new_pod_waits_until_the_old_one_of_its_name_is_dead(yard: Yard) -> None:
    yard.store.create(CLAIM, builders.claim("disk"))
    mount = {"volumeMounts": [{"name": "d", "mountPath": "/data"}]}
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "disk"}}]
    yard.run(python("one", STUBBORN + " # first-9142", container=mount, volumes=volumes))
    yard.until_said("one", "up")
    yard.store.delete(POD, Key("one", "default"), Deletion(grace=0))

    yard.run(python("one", "print('second')", container=mount, volumes=volumes))

    yard.until("one", "Succeeded")
    assert not processes_that_say("first-9142")


def test_the_whole_tree_ends_with_the_main_process(yard: Yard) -> None:
    yard.run(shell("one", "setsid sleep 8173 >/dev/null 2>&1 & (sleep 8173 &) ; sleep 0.1; exit 0"))

    yard.until("one", "Succeeded")

    assert not processes_that_say("sleep 8173")


def dead_children() -> list[int]:
    lists = Path("/proc/self/task").glob("*/children")
    return [int(pid) for path in lists for pid in _bytes(path).split() if _state(int(pid)) == b"Z"]


def _state(pid: int) -> bytes:
    return _bytes(Path(f"/proc/{pid}/stat")).rpartition(b") ")[2][:1]


def test_no_dead_process_stays_unburied(yard: Yard) -> None:
    for name in ("one", "two", "three"):
        yard.run(shell(name, "true"))

    for name in ("one", "two", "three"):
        yard.until(name, "Succeeded")

    eventually(lambda: not dead_children())


def test_a_container_killed_from_outside_has_its_true_exit_code(yard: Yard) -> None:
    yard.run(python("one", FOREVER + " # victim-5520"))
    yard.until_said("one", "up")

    inside = [
        pid
        for pid in processes_that_say("victim-5520")
        if _bytes(Path(f"/proc/{pid}/cmdline")).startswith(b"python")
    ]
    os.kill(inside[0], signal.SIGKILL)

    yard.until("one", "Failed")
    assert yard.state("one")["terminated"]["exitCode"] == 137


def test_an_orderly_stop_waits_no_longer_than_a_pod_wishes(tmp_path: Path) -> None:
    with opened(tmp_path, grace=1000) as yard:
        yard.run(python("one", STUBBORN, terminationGracePeriodSeconds=1))
        yard.until_said("one", "up")

    with opened(tmp_path) as yard:
        yard.until("one", "Failed")

        assert yard.state("one")["terminated"]["exitCode"] == 137


def test_after_an_orderly_stop_what_should_run_runs_again(tmp_path: Path) -> None:
    with opened(tmp_path, grace=10) as yard:
        yard.run(python("one", POLITE, restartPolicy="Always"))
        yard.until_said("one", "up")
        address = meta.status(yard.pod("one"))["podIP"]

    with opened(tmp_path) as yard:
        eventually(lambda: yard.container("one")["restartCount"] == 1 and yard.container("one")["ready"])

        assert yard.log("one", previous=True) == "up\nbye\n"
        assert meta.status(yard.pod("one"))["podIP"] == address
