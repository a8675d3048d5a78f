"""Who has said where VMware's library comes from, and what an import says until somebody has."""

from typing import Any

import pytest

from datavolume_controller import vddk
from datavolume_controller.imports import Imports
from datavolume_controller.pendings import Pendings
from datavolume_controller.progress import Scraper
from diskyard.api import meta
from diskyard.api.meta import CDI_CONFIG, CLAIM, CONFIG_MAP, NAMESPACE, Key, Obj
from diskyard.api.names import cdi
from diskyard.kube.reconcile import Merge, Plan
from diskyard.kube.refusal import CreateOrExplain
from standalone.store.objects import Objects
from tests import builders
from tests.builders import some
from tests.datavolume_controller.plans import said

HERE = Key("disk", "default")
SPHERE = {cdi.IMPORT_SOURCE: "vddk", cdi.IMPORT_ENDPOINT: "https://vcenter", cdi.CREATED_FOR: "dv-uid"}


@pytest.fixture
def store(store: Objects) -> Objects:
    """With an import from vSphere, whose claim is bound."""
    store.create(NAMESPACE, builders.namespace("cdi"))
    claim = builders.claim("disk")
    claim["metadata"]["annotations"] = SPHERE
    store.create(CLAIM, claim)
    store.patch(CLAIM, HERE, {"status": {"phase": "Bound"}}, "status")
    return store


def planned(store: Objects) -> Plan:
    with Scraper(fetch=lambda _: "") as scraper:
        imports = Imports(scraper)
        world = imports.gather(store, HERE)
        assert world
        return imports.decide(world)


def carried_out(store: Objects) -> Plan:
    plan = planned(store)
    for action in plan.actions:
        action.carry_out(store)
    return plan


def named(store: Objects, by: str) -> None:
    """Somebody says where it is."""
    if by == "the operator's ConfigMap":
        entries: Any = {"vddk-init-image": "registry/vddk:8"}
        store.create(CONFIG_MAP, some(CONFIG_MAP, "v2v-vmware", "cdi", data=entries))
    elif by == "an annotation of the claim":
        store.patch(CLAIM, HERE, {"metadata": {"annotations": {cdi.VDDK_IMAGE: "registry/vddk:8"}}})
    else:
        folder = {"metadata": {"annotations": {cdi.VDDK_FOLDER: "/usr/lib/vddk"}}}
        store.create(CDI_CONFIG, some(CDI_CONFIG, cdi.CONFIG_NAME, spec={}, **folder))


def pod(plan: Plan) -> Obj:
    (made,) = (each.create.obj for each in plan.actions if isinstance(each, CreateOrExplain))
    return made


def test_until_somebody_names_it_the_import_waits_and_says_for_what(store: Objects) -> None:
    plan = carried_out(store)

    assert plan.requeue_after == vddk.PERIOD
    assert (said(plan)[cdi.BOUND_CONDITION], said(plan)[cdi.BOUND_REASON]) == ("false", "AwaitingVDDK")
    assert (said(plan)[cdi.BOUND_MESSAGE] or "").startswith(
        "waiting for v2v-vmware configmap or cdi.kubevirt.io/storage.pod.vddk.initimageurl annotation for VDDK image"
    )
    assert planned(store).actions == ()
    assert Pendings().gather(store, HERE) is None


@pytest.mark.parametrize("waited", [True, False], ids=["later", "before"])
@pytest.mark.parametrize(
    ("by", "images"),
    [
        ("the operator's ConfigMap", ["registry/vddk:8"]),
        ("an annotation of the claim", ["registry/vddk:8"]),
        ("a folder of the node", []),
    ],
)
def test_it_is_named_by(store: Objects, by: str, images: list[str], waited: bool) -> None:
    if waited:
        carried_out(store)
    named(store, by)
    if waited:
        carried_out(store)
        assert cdi.BOUND_REASON not in meta.annotations(store.get(CLAIM, HERE))

    made = pod(planned(store))

    assert [each["image"] for each in meta.spec(made).get("initContainers") or ()] == images


def test_nobody_else_waits_for_it(store: Objects) -> None:
    store.patch(CLAIM, HERE, {"metadata": {"annotations": {cdi.IMPORT_SOURCE: "http"}}})

    assert not [
        each for each in planned(store).actions if isinstance(each, Merge) and cdi.BOUND_REASON in str(each)
    ]
