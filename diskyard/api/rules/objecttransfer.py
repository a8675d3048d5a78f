"""Admission of ObjectTransfers: CDI has deprecated them, and they are refused here with what to do instead. Pure."""

from collections.abc import Sequence

from diskyard.api import meta
from diskyard.api.meta import OBJECT_TRANSFER, Obj
from diskyard.errors import Cause


def causes(obj: Obj, old: Obj | None) -> Sequence[Cause]:
    """Why there is no ObjectTransfer; one that is there already may keep its spec."""
    if old is not None and meta.spec(old) == meta.spec(obj):
        return ()
    message = (
        "ObjectTransfer feature is deprecated, and is not served: clone the disk into the other namespace with a "
        "DataVolume (spec.source.pvc), and delete the one before"
    )
    return (Cause(message, OBJECT_TRANSFER.kind),)
