"""What stands between a request and the log: every rule that an object must pass, in Kubernetes' order."""

from diskyard.api import meta
from diskyard.api.meta import NAMESPACE, Kind, Obj
from diskyard.api.user import User
from diskyard.errors import Cause
from standalone.store import admission, answers, core, metadata, rules
from standalone.store.admission import Admission
from standalone.store.served import Served


class Gate:
    """Completes and judges objects; `owners` are the rules of the kinds' owners, `user` is who asks."""

    def __init__(self, owners: Admission | None, user: User | None = None) -> None:
        self._owners = owners
        self._user = user

    def asked_by(self, user: User) -> "Gate":
        """The same gate for what that user asks."""
        return Gate(self._owners, user)

    def fresh(self, served: Served, asked: Obj, birth: metadata.Birth) -> Obj:
        """The new object as it is to be stored. Raises Invalid."""
        obj = metadata.born(served.kind, asked, birth, generation=served.custom)
        if served.status:
            obj.pop("status", None)
        return self._judged(served, obj, None)

    def changed(self, served: Served, asked: Obj, old: Obj, subresource: str) -> Obj:
        """The object as it is after a change of one part of it. Raises Invalid, NotFound."""
        kind = served.kind
        if subresource == "status" and served.status:
            status = metadata.with_status_of(old, _pruned(served, asked))
            _raise(kind, status, served.schema.causes(status) if served.schema else [])
            return status
        if subresource == "finalize" and kind == NAMESPACE:
            return {**old, "spec": {**meta.spec(old), "finalizers": meta.spec(asked).get("finalizers") or []}}
        if subresource:
            raise answers.not_served(f"{kind.plural}/{subresource}")
        result = metadata.kept(kind, asked, old)
        if served.status:
            result = metadata.with_status_of(result, old)
        result = self._judged(served, result, old)
        return metadata.counted(result, old, status=served.status)

    def _judged(self, served: Served, obj: Obj, old: Obj | None) -> Obj:
        """The object completed; its shape is looked at first, so that every later rule finds what it expects."""
        kind = served.kind
        _raise(kind, obj, rules.causes(kind, obj, old) + _shape(served, obj))
        obj = _defaulted(served, _pruned(served, obj))
        if old is None:
            obj = core.begun(kind, obj)
        if self._owners:
            obj = _defaulted(served, self._owners.mutate(kind, obj, old, self._user))
        _raise(kind, obj, served.schema.causes(obj) if served.schema else core.causes(kind, obj, old))
        if self._owners and (causes := self._owners.validate(kind, obj, old, self._user)):
            raise admission.denied(kind, obj, causes)
        return obj


def _shape(served: Served, obj: Obj) -> list[Cause]:
    """What has the wrong type; what a custom object lacks may still be filled in."""
    if served.schema is None:
        return core.shape(served.kind, obj)
    return [cause for cause in served.schema.causes(obj) if cause.reason != "FieldValueRequired"]


def _pruned(served: Served, obj: Obj) -> Obj:
    return served.schema.pruned(obj)[0] if served.schema else obj


def _defaulted(served: Served, obj: Obj) -> Obj:
    return served.schema.defaulted(obj) if served.schema else core.defaulted(served.kind, obj)


def _raise(kind: Kind, obj: Obj, causes: list[Cause]) -> None:
    if causes:
        raise answers.invalid(kind, meta.name(obj), causes)
