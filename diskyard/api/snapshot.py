"""What a VolumeSnapshot and its content say: whether it can be used, and what a volume from it needs. Pure."""

from diskyard.api import meta, quantity
from diskyard.api.meta import Obj
from diskyard.api.names import clone
from diskyard.errors import InvalidRequest


def ready(obj: Obj | None) -> bool:
    """Whether a volume can be made from a VolumeSnapshot or a content."""
    return meta.status(obj or {}).get("readyToUse") is True


def failure(obj: Obj) -> str:
    """Why a VolumeSnapshot or a content is not ready; empty: nothing is said."""
    return str((meta.status(obj).get("error") or {}).get("message") or "")


def content_name(obj: Obj) -> str:
    """The content that a VolumeSnapshot is bound to; empty: none yet."""
    return str(meta.status(obj).get("boundVolumeSnapshotContentName") or "")


def restore_size(obj: Obj) -> int:
    """Bytes that a volume from a VolumeSnapshot needs; 0: it does not say."""
    try:
        return quantity.parse(str(meta.status(obj).get("restoreSize") or 0))
    except InvalidRequest:
        return 0


def mode(obj: Obj, content: Obj | None) -> str:
    """The volume mode of what it was taken of, as its maker or its content says; empty: nobody does."""
    said = meta.annotations(obj).get(clone.SOURCE_MODE) or meta.spec(content or {}).get("sourceVolumeMode")
    return str(said or "")
