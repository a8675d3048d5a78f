"""A worker's pod, and what a pod's status says has happened."""

import pytest

from diskyard.api import meta
from diskyard.api.meta import Obj
from diskyard.api.pod import End, Facts, Worker, claim_volume, claims, facts, pod

END: Obj = {
    "terminated": {"exitCode": 3, "reason": "Error", "message": "m", "finishedAt": "2026-11-21T12:00:00Z"}
}


def reported(phase: str, **container: object) -> Obj:
    return {"status": {"phase": phase, "podIP": "127.0.0.2", "containerStatuses": [container]}}


def test_a_worker_is_never_root_and_can_nothing_more() -> None:
    made = pod(Worker("importer", ("diskyard-importer",)), {"name": "p"})
    for context in (meta.spec(made)["securityContext"], meta.spec(made)["containers"][0]["securityContext"]):
        assert context["runAsNonRoot"]
        assert context["runAsUser"] == 107
    security = meta.spec(made)["containers"][0]["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["allowPrivilegeEscalation"] is False
    assert meta.spec(made)["automountServiceAccountToken"] is False


def test_the_environment_is_values_secrets_and_fields() -> None:
    worker = Worker("w", ("x",), env={"A": "1"}, secret_env={"B": ("s", "k")}, optional_env={"C": ("s", "l")})
    env = {each["name"]: each for each in meta.spec(pod(worker, {}))["containers"][0]["env"]}
    assert env["A"]["value"] == "1"
    assert env["B"]["valueFrom"]["secretKeyRef"] == {"name": "s", "key": "k"}
    assert env["C"]["valueFrom"]["secretKeyRef"] == {"name": "s", "key": "l", "optional": True}
    assert env["POD_IP"]["valueFrom"]["fieldRef"]["fieldPath"] == "status.podIP"


def test_knows_the_claims_of_a_pod() -> None:
    worker = Worker("w", ("x",), volumes=(claim_volume("v", "disk"), {"name": "e", "emptyDir": {}}))
    assert claims(pod(worker, {})) == ["disk"]


def initialized(reason: str, message: str) -> Obj:
    """A pod whose first container waits for one of reason and message."""
    turn = {"state": {"waiting": {"reason": "PodInitializing"}}}
    first = {"state": {"waiting": {"reason": reason, "message": message}}}
    return {"status": {"phase": "Pending", "initContainerStatuses": [first], "containerStatuses": [turn]}}


FACTS = {
    "a pod without a status": ({}, Facts("")),
    "it waits": (
        reported("Pending", state={"waiting": {"reason": "ErrImagePull", "message": "no"}}),
        Facts("Pending", "127.0.0.2", waiting=("ErrImagePull", "no")),
    ),
    "it waits for its turn": (
        initialized("PodInitializing", ""),
        Facts("Pending", waiting=("PodInitializing", "")),
    ),
    "the container before it waits": (
        initialized("ErrImagePull", "no such image"),
        Facts("Pending", waiting=("ErrImagePull", "no such image")),
    ),
    "it runs": (
        reported("Running", state={"running": {}}, ready=True, restartCount=2),
        Facts("Running", "127.0.0.2", running=True, ready=True, restarts=2),
    ),
    "it has ended": (
        reported("Failed", state=END),
        Facts("Failed", "127.0.0.2", end=End(3, "Error", "m", "2026-11-21T12:00:00Z")),
    ),
    "it ended before": (
        reported("Running", state={"running": {}}, lastState=END),
        Facts("Running", "127.0.0.2", running=True, last_end=End(3, "Error", "m", "2026-11-21T12:00:00Z")),
    ),
    "no node takes it": (
        {"status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "full"}]}},
        Facts("", unschedulable="full"),
    ),
}


@pytest.mark.parametrize(("obj", "found"), FACTS.values(), ids=FACTS.keys())
def test_tells_what_happened_when(obj: Obj, found: Facts) -> None:
    assert facts(obj) == found
