"""What stands between a request and the log: every rule that an object must pass, in Kubernetes' order."""

from collections.abc import Sequence

from diskyard.api import meta
from diskyard.api.meta import ENDPOINT_SLICE, NAMESPACE, POD, Kind, Obj
from diskyard.api.user import User
from diskyard.errors import Cause
from standalone.store import admission, answers, authors, binding, core, fields, metadata, rules, scale
from standalone.store.admission import Admission
from standalone.store.authors import Author, Signature
from standalone.store.schema import KEEPS
from standalone.store.served import Served


class Gate:
    """Completes and judges objects; `owners` are the rules of the kinds' owners, `user` is who asks."""

    def __init__(self, owners: Admission | None, user: User | None = None) -> None:
        self._owners = owners
        self._user = user

    def asked_by(self, user: User) -> "Gate":
        """The same gate for what that user asks."""
        return Gate(self._owners, user)

    def advice(self, kind: Kind, obj: Obj) -> Sequence[str]:
        """What who writes that object is told, though it passes."""
        return self._owners.advise(kind, obj) if self._owners else ()

    def fresh(self, served: Served, asked: Obj, birth: metadata.Birth, author: Author) -> Obj:
        """The new object as it is to be stored. Raises Invalid."""
        obj = metadata.born(
            served.kind, asked, birth, generation=served.custom or served.kind in (POD, ENDPOINT_SLICE)
        )
        if served.status:
            obj.pop("status", None)
        return self._judged(served, obj, None, Signature(author, birth.now))

    def changed(self, served: Served, asked: Obj, old: Obj, signature: Signature) -> Obj:
        """The object as it is after a change of one part of it. Raises Invalid, NotFound."""
        kind, subresource = served.kind, signature.author.subresource
        if subresource == "status" and served.status:
            status = metadata.with_status_of(authors.resigned(old, asked), _pruned(served, asked, signature))
            _raise(kind, status, served.schema.status_causes(status, old) if served.schema else [])
            return _stored(served, _signed(served, status, old, signature))
        if subresource == "finalize" and kind == NAMESPACE:
            spec = {**meta.spec(old), "finalizers": meta.spec(asked).get("finalizers") or []}
            return _signed(served, {**old, "spec": spec}, old, signature)
        if subresource == binding.SUBRESOURCE and kind == POD:
            return asked
        if subresource and not (subresource == scale.SUBRESOURCE and served.scale):
            raise answers.not_served(f"{kind.plural}/{subresource}")
        _raise(kind, old, rules.moved(asked, old))
        result = metadata.kept(kind, asked, old)
        if served.status:
            result = metadata.with_status_of(result, old)
        result = self._judged(served, result, old, signature)
        return metadata.counted(result, old, status=served.status)

    def _judged(self, served: Served, obj: Obj, old: Obj | None, signature: Signature) -> Obj:
        """The object completed; its shape is looked at first, so that every later rule finds what it expects."""
        kind = served.kind
        obj = _pruned(served, obj, signature)
        if early := rules.causes(kind, obj, old) + _shape(served, obj, old):
            raise answers.invalid(kind, meta.name(obj), _every(served, obj, old, early))
        obj = _signed(served, _defaulted(served, obj), old, signature)
        if old is None:
            obj = core.begun(kind, obj)
        if self._owners:
            obj = _defaulted(served, self._owners.mutate(kind, obj, old, self._user))
        _raise(kind, obj, _broken(served, obj, old, []))
        if self._owners and (causes := self._owners.validate(kind, obj, old, self._user)):
            raise admission.denied(kind, obj, causes)
        return _stored(served, obj)


def _stored(served: Served, obj: Obj) -> Obj:
    """The object as the stored version has it: without what that does not know, with what it fills in."""
    return served.storage.defaulted(served.storage.pruned(obj)[0]) if served.storage else obj


def _signed(served: Served, obj: Obj, old: Obj | None, signature: Signature) -> Obj:
    """The object with its authors, this one among them; one that nobody signed so far stays so."""
    if signature.author.operation == authors.APPLY:
        return obj
    works = {} if authors.taken_back(obj) else authors.read(obj) or (authors.read(old) if old else None) or {}
    if old is not None and not works:
        return authors.anonymous(obj)
    if old is not None and signature.author.subresource == scale.SUBRESOURCE and served.scale:
        replicas = scale.place(served.scale)
        if not any(replicas in work.paths for work in works.values()):
            return authors.resigned(obj, old)  # a Scale that nobody signed so far stays so, too
    before = served.blank if old is None else authors.anonymous(old)
    change = fields.difference(before, authors.anonymous(obj), served.node)
    return authors.signed(obj, authors.updated(works, signature, change))


def _shape(served: Served, obj: Obj, old: Obj | None) -> list[Cause]:
    """What has the wrong type; what a custom object lacks may still be filled in."""
    if served.schema is None:
        return core.shape(served.kind, obj)
    return [cause for cause in served.schema.causes(obj, old) if cause.reason != "FieldValueRequired"]


def _every(served: Served, obj: Obj, old: Obj | None, early: list[Cause]) -> list[Cause]:
    """All that is wrong with an object of whose metadata or shape something is known to be."""
    if served.schema is None:
        return early
    obj = _defaulted(served, obj)
    return rules.causes(served.kind, obj, old) + _broken(served, obj, old, early)


def _broken(served: Served, obj: Obj, old: Obj | None, early: list[Cause]) -> list[Cause]:
    """Every rule of its kind that an object breaks; those in CEL only when its shape is right."""
    if served.schema is None:
        return core.causes(served.kind, obj, old)
    causes = served.schema.causes(obj, old)
    if served.scale:
        causes += scale.causes(obj, served.scale)
    return causes + served.schema.broken(obj, old, [*early, *causes])


def _pruned(served: Served, obj: Obj, signature: Signature) -> Obj:
    """Only what is written as it stands loses its nulls: what is applied is refused for them, as on a real server."""
    if served.schema:
        return served.schema.pruned(obj, nulls=signature.author.operation == authors.APPLY)[0]
    if served.node.get(KEEPS):
        return obj
    # below the top our schemas of Kubernetes' own kinds are not complete
    known = {field: value for field, value in obj.items() if field in served.node["properties"]}
    return known | metadata.texts(known, core.TEXTS.get(served.kind, ()))


def _defaulted(served: Served, obj: Obj) -> Obj:
    return served.schema.defaulted(obj) if served.schema else core.defaulted(served.kind, obj)


def _raise(kind: Kind, obj: Obj, causes: list[Cause]) -> None:
    if causes:
        raise answers.invalid(kind, meta.name(obj), causes)
