"""What the webhooks decide that has to be looked up: who may clone, whether CDI may go, what is not theirs."""

from typing import Any

import pytest

from datavolume_controller import admission, authorization
from diskyard.api.meta import CDI, DATA_SOURCE, DATA_VOLUME, Obj
from diskyard.api.names import cdi
from diskyard.api.user import User
from diskyard.errors import BadRequest
from diskyard.kube.access import Access, PathAccess
from diskyard.kube.webhook import Decision, Review
from standalone.store.objects import Objects
from tests import builders
from tests.builders import some

ANN = User("ann", ("system:authenticated",))
ACCOUNT = User("system:serviceaccount:default:builder", ("system:serviceaccounts",))
SOURCE = "create datavolumes/source"
PODS = "create pods"
CLAIMS = "create pvcs"
CLAIM = {"pvc": {"namespace": "golden", "name": "image"}}
SNAPSHOT = {"snapshot": {"namespace": "golden", "name": "image"}}

RIGHTS: dict[str, tuple[Obj, set[str], bool]] = {
    "nobody without a right": (CLAIM, set(), False),
    "who may use that source": (CLAIM, {SOURCE}, True),
    "who may make pods beside the claim": (CLAIM, {PODS}, True),
    "who may do something else there": (CLAIM, {CLAIMS}, False),
    "no snapshot without a right": (SNAPSHOT, set(), False),
    "who may use that snapshot": (SNAPSHOT, {SOURCE}, True),
    "who may make pods and claims beside the snapshot": (SNAPSHOT, {PODS, CLAIMS}, True),
    "no snapshot for who may only make pods": (SNAPSHOT, {PODS}, False),
}


def permitting(rights: set[str], namespace: str = "golden") -> Any:
    """The API server's word: those rights, in that namespace."""

    def may(_: User, access: Access | PathAccess) -> bool:
        assert isinstance(access, Access)
        resource = "/".join(filter(None, (access.resource, access.subresource)))
        return access.namespace == namespace and f"{access.verb} {resource}" in rights

    return may


@pytest.mark.parametrize("user", [ANN, ACCOUNT], ids=["a user", "a service account"])
@pytest.mark.parametrize(("source", "rights", "allowed"), RIGHTS.values(), ids=RIGHTS)
def test_clones(store: Objects, source: Obj, rights: set[str], allowed: bool, user: User) -> None:
    dv = builders.data_volume("clone", source=source)

    found = authorization.refusals(store, permitting(rights), user, dv)

    message = f"User {user.name} has insufficient permissions in clone source namespace golden"
    assert [each.message for each in found] == ([] if allowed else [message])


def test_by_a_data_source_its_source_is_asked_for_however_far_behind(store: Objects) -> None:
    store.create(DATA_SOURCE, some(DATA_SOURCE, "image", spec={"source": CLAIM}))
    other = {"dataSource": {"namespace": "default", "name": "image"}}
    store.create(DATA_SOURCE, some(DATA_SOURCE, "alias", spec={"source": other}))
    for name in ("image", "alias"):
        dv = builders.data_volume("clone", source=None, sourceRef={"kind": "DataSource", "name": name})

        assert authorization.refusals(store, permitting(set()), ANN, dv)
        assert not authorization.refusals(store, permitting({SOURCE}), ANN, dv)


def test_a_data_source_that_is_not_there_is_said(store: Objects) -> None:
    dv = builders.data_volume("clone", source=None, sourceRef={"kind": "DataSource", "name": "nothing"})

    with pytest.raises(BadRequest, match=r'datasources.cdi.kubevirt.io "nothing" not found'):
        authorization.refusals(store, permitting({SOURCE}), ANN, dv)


def decided(store: Objects, path: str, review: Review) -> Decision:
    return admission.routes(store, permitting(set()))[path](review)


def leaving(strategy: str = "BlockUninstallIfWorkloadsExist") -> Review:
    old = some(CDI, "cdi", spec={"uninstallStrategy": strategy})
    return Review("cdis", CDI.group, "DELETE", "", ANN, old=old)


def test_cdi_may_go_when_nothing_is_left_or_nobody_minds(store: Objects) -> None:
    assert not decided(store, "/cdi-validate", leaving()).causes
    golden = builders.data_volume("golden")
    golden["metadata"]["labels"] = {cdi.CRON_LABEL: "nightly"}
    store.create(DATA_VOLUME, golden)
    assert not decided(store, "/cdi-validate", leaving()).causes
    store.create(DATA_VOLUME, builders.data_volume("disk"))

    (cause,) = decided(store, "/cdi-validate", leaving()).causes

    assert cause.message == (
        "rejecting the uninstall request, since there are still 1 DataVolumes present. Either delete all DataVolumes "
        "or change the uninstall strategy before uninstalling CDI"
    )
    assert not decided(store, "/cdi-validate", leaving("RemoveWorkloads")).causes


STRANGE = {
    "/datavolume-validate": "expect resource to be 'datavolumes'",
    "/datavolume-mutate": "expect resource to be 'datavolumes'",
    "/pvc-mutate": "expect resource to be 'persistentvolumeclaims'",
    "/populator-validate": "unexpected resource: pods",
    "/dataimportcron-validate": "expect resource to be 'dataimportcrons'",
}


@pytest.mark.parametrize(("path", "message"), STRANGE.items(), ids=STRANGE)
def test_what_is_sent_to_the_wrong_webhook_is_refused(store: Objects, path: str, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        decided(store, path, Review("pods", "", "CREATE", "default", ANN, builders.config_map("a")))


def test_a_clone_that_is_there_may_be_labelled_by_anybody(store: Objects) -> None:
    dv = builders.data_volume("clone", source=CLAIM)
    review = Review("datavolumes", DATA_VOLUME.group, "UPDATE", "default", ANN, dv, dv)

    assert not decided(store, "/datavolume-mutate", review).causes
