"""Admission of CDI's objects: looks up what the rules need to know, and lets them speak.

The yard asks here from inside its store; on a cluster `routes` are the webhooks, at CDI's paths (cdi-wire: webhooks).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from datavolume_controller import authorization, cloneright
from datavolume_controller.claim import Refusal, completed
from datavolume_controller.cloneright import Wish
from datavolume_controller.datavolumes import storage
from datavolume_controller.settings import settings
from diskyard.api import meta
from diskyard.api.meta import (
    CDI,
    CLAIM,
    DATA_VOLUME,
    IMPORT_CRON,
    IMPORT_SOURCE,
    MACHINE,
    OBJECT_TRANSFER,
    UPLOAD_SOURCE,
    Kind,
    Obj,
)
from diskyard.api.names import cdi, clone
from diskyard.api.rules import cron, datavolume, objecttransfer, populator
from diskyard.api.user import User
from diskyard.errors import BadRequest, Cause
from diskyard.kube.access import May
from diskyard.kube.client import Client
from diskyard.kube.reconcile import find
from diskyard.kube.webhook import ALLOWED, Decision, Judge, Review

CREATE: Final = "CREATE"
DELETE: Final = "DELETE"
_BLOCKING: Final = "BlockUninstallIfWorkloadsExist"

Causes = Callable[[Client, Obj, Obj | None], Sequence[Cause]]


def causes(client: Client, kind: Kind, obj: Obj, old: Obj | None) -> Sequence[Cause]:
    """What is wrong with an object of CDI's; what is leaving is let go."""
    rules = CAUSES.get(kind)
    return () if rules is None or meta.deleting(obj) else rules(client, obj, old)


def refusals(client: Client, may: May, user: User, obj: Obj) -> Sequence[Cause]:
    """Why that user may not have that new DataVolume made: whoever clones reads the source."""
    return authorization.refusals(client, may, user, obj)


def tokened(client: Client, obj: Obj) -> Obj:
    """A new DataVolume whose user may clone, with the token that says so to the controllers.

    None for one out of a machine's template: a controller makes it, whose right is not that of who wrote the template.
    """
    said, owner = meta.annotations(obj), meta.controller_of(obj)
    if owner and owner.get("kind") == MACHINE.kind:
        return obj
    found = (
        None if cdi.PRE_POPULATED in said or cdi.CHECK_STATIC in said else authorization.cloned(client, obj)
    )
    if found is None or found[1].namespace == meta.namespace(obj) or not meta.name(obj):
        return obj
    text = cloneright.signed(client, Wish(*found, meta.key(obj), said))
    if not text:
        return obj
    metadata = {**meta.meta(obj), "annotations": {**said, clone.TOKEN: text}}
    return {**obj, "metadata": metadata}


def rendered(client: Client, claim: Obj) -> Obj:
    """A claim that asks for it (`applyStorageProfile`), with what its spec lacks. Raises BadRequest."""
    if meta.labels(claim).get(cdi.APPLY_PROFILE_LABEL) != "true":
        return claim
    config = settings(client)
    if not config.completes:
        return claim
    asked = str(meta.spec(claim).get("storageClassName") or "")
    made = completed(claim, storage(client, asked), config)
    if isinstance(made, Refusal):
        raise BadRequest(made.message)
    return made


def _datavolume(client: Client, obj: Obj, old: Obj | None) -> Sequence[Cause]:
    facts = datavolume.Facts(find(client, CLAIM, meta.key(obj)), settings(client).adopts)
    return datavolume.causes(obj, old, facts)


CAUSES: Final[Mapping[Kind, Causes]] = {
    DATA_VOLUME: _datavolume,
    IMPORT_SOURCE: lambda _, obj, old: populator.import_causes(obj, old),
    UPLOAD_SOURCE: lambda _, obj, old: populator.upload_causes(obj, old),
    IMPORT_CRON: lambda _, obj, old: cron.causes(obj, old),
    OBJECT_TRANSFER: lambda _, obj, old: objecttransfer.causes(obj, old),
}
"""The rules of each kind, with what they have to look up."""


def routes(client: Client, may: May) -> Mapping[str, Judge]:
    """Path -> what judges there."""
    return {
        "/datavolume-validate": partial(_validated, client, (DATA_VOLUME,)),
        "/populator-validate": partial(_validated, client, (IMPORT_SOURCE, UPLOAD_SOURCE)),
        "/dataimportcron-validate": partial(_validated, client, (IMPORT_CRON,)),
        "/objecttransfer-validate": partial(_validated, client, (OBJECT_TRANSFER,)),
        "/datavolume-mutate": partial(_authorised, client, may),
        "/pvc-mutate": partial(_rendered, client),
        "/cdi-validate": partial(_uninstalled, client),
    }


def _validated(client: Client, kinds: Sequence[Kind], review: Review) -> Decision:
    kind = next((each for each in kinds if each.plural == review.resource), None)
    if kind is None or review.obj is None:
        raise BadRequest(_unexpected(kinds, review))
    return Decision(causes(client, kind, review.obj, review.old))


def _authorised(client: Client, may: May, review: Review) -> Decision:
    """Asked once, when it is made: what is cloned cannot be changed later, and its source may be gone by then."""
    if review.resource != DATA_VOLUME.plural or review.obj is None:
        raise BadRequest(_unexpected((DATA_VOLUME,), review))
    if review.operation != CREATE:
        return ALLOWED
    placed = {**review.obj, "metadata": {**meta.meta(review.obj), "namespace": review.namespace}}
    causes_ = refusals(client, may, review.user, placed)
    return Decision(causes_) if causes_ else Decision(obj=tokened(client, placed))


def _rendered(client: Client, review: Review) -> Decision:
    if review.resource != CLAIM.plural or review.obj is None:
        raise BadRequest(_unexpected((CLAIM,), review))
    return Decision(obj=rendered(client, review.obj)) if review.operation == CREATE else ALLOWED


def _uninstalled(client: Client, review: Review) -> Decision:
    """Whether CDI may go while people still have DataVolumes."""
    if review.resource != CDI.plural:
        raise BadRequest(_unexpected((CDI,), review))
    strategy = meta.spec(review.old or {}).get("uninstallStrategy")
    if review.operation != DELETE or strategy != _BLOCKING:
        return ALLOWED
    every = client.list(DATA_VOLUME).items
    present = sum(1 for each in every if cdi.CRON_LABEL not in meta.labels(each))
    if not present:
        return ALLOWED
    message = (
        f"rejecting the uninstall request, since there are still {present} DataVolumes present. Either delete all "
        "DataVolumes or change the uninstall strategy before uninstalling CDI"
    )
    return Decision((Cause(message, "spec.uninstallStrategy"),))


def _unexpected(kinds: Sequence[Kind], review: Review) -> str:
    if len(kinds) == 1:
        return f"expect resource to be '{kinds[0].plural}'"
    return f"unexpected resource: {review.resource}"
