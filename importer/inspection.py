"""What a source is and how it would be imported: from its head alone, nothing is written and no body is fetched."""

from dataclasses import dataclass
from typing import Any, Final

from diskyard.api import quantity
from diskyard.api.job import ImportJob
from diskyard.disk.boot import boot
from diskyard.disk.head import Headed
from diskyard.disk.image import Image
from diskyard.disk.preflight import HEAD, Preflight, Route
from diskyard.disk.probe import Format, probe
from diskyard.disk.source import Source
from diskyard.disk.space import check_room
from diskyard.disk.unwrap import unwrapped
from diskyard.errors import AccessDenied, DiskyardError, SourceMissing, SourceUnavailable
from importer.transfer import name_of, opened

_FLAT: Final = (Format.RAW, Format.ISO)
_SECTOR: Final = 512


@dataclass(frozen=True)
class Inspection:
    """What is known of a source; None and empty: not known."""

    source: str
    reachable: bool | None = None
    authorized: bool | None = None
    ranged: bool | None = None
    size: int | None = None
    validator: str = ""
    format: str = ""
    packed: tuple[str, ...] = ()
    """What the image is packed in, from the outside in."""
    virtual_size: int | None = None
    route: str = ""
    """`stream`, `decode` or `spool`: see `preflight.Route`; `image` for what already is a flat disk."""
    resumable: bool = False
    """Whether an import that breaks off goes on where it was."""
    hints: tuple[str, ...] = ()
    refusal: DiskyardError | None = None
    """Why it would not be imported."""

    @property
    def claim(self) -> int | None:
        """Bytes of a claim with a file system that has room for the disk."""
        if self.virtual_size is None:
            return None
        return quantity.round_up(quantity.required(self.virtual_size, float(quantity.DEFAULT_OVERHEAD)))

    def wire(self) -> dict[str, Any]:
        """For programs; names and meanings are stable."""
        error = self.refusal
        return {
            "source": self.source,
            "importable": error is None,
            "reason": error.reason if error else "",
            "message": str(error) if error else "",
            "retry": error is not None and not error.fatal,
            "reachable": self.reachable,
            "authorized": self.authorized,
            "ranged": self.ranged,
            "resumable": self.resumable,
            "size": self.size,
            "validator": self.validator,
            "format": self.format,
            "packed": list(self.packed),
            "virtualSize": self.virtual_size,
            "claimSize": self.claim,
            "claim": quantity.canonical(self.claim) if self.claim else "",
            "route": self.route,
            "hints": list(self.hints),
        }


def inspection(job: ImportJob, room: int | None = None) -> Inspection:
    """What would become of a job whose disk may have `room` bytes."""
    name = name_of(job)
    try:
        with opened(job) as source:
            if isinstance(source, Image):
                return _flat(name, source, room)
            return _inspected(name, source, room)
    except DiskyardError as error:
        absent, denied = isinstance(error, SourceUnavailable | SourceMissing), isinstance(error, AccessDenied)
        return Inspection(
            name,
            reachable=False if absent else denied or None,
            authorized=False if denied else None,
            refusal=error,
        )


def _flat(name: str, image: Image, room: int | None) -> Inspection:
    said = Inspection(
        name, True, True, True, image.size, format=Format.RAW, virtual_size=image.size, route="image"
    )
    try:
        check_room(image.size, room)
    except DiskyardError as error:
        return Inspection(**{**vars(said), "refusal": error})
    return said


def _inspected(name: str, source: Source, room: int | None) -> Inspection:
    headed = Headed(source)
    plan: Preflight | None = None
    refusal: DiskyardError | None = None
    hints: tuple[str, ...] = ()
    try:
        plan, body = unwrapped(headed, None, None)
        hints = _hints(plan, body)
        check_room(plan.virtual_size, room)
    except DiskyardError as error:
        refusal = error
    resumable = source.ranged and bool(source.validator) and not (plan and plan.packed)
    return Inspection(
        name,
        reachable=True,
        authorized=True,
        ranged=source.ranged,
        size=source.size,
        validator=source.validator or "",
        format=plan.format if plan else _first_look(headed, refusal),
        packed=tuple(plan.packed) if plan else (),
        virtual_size=plan.virtual_size if plan else None,
        route=plan.route if plan else "",
        resumable=resumable,
        hints=(*hints, *_about_server(headed)),
        refusal=refusal,
    )


def _first_look(headed: Headed, refusal: DiskyardError | None) -> str:
    """What is refused, where bytes have come at all."""
    head = headed.head(HEAD) if refusal and refusal.fatal else b""
    return probe(head) if head else ""


def _hints(plan: Preflight, body: Headed) -> tuple[str, ...]:
    """What a person wants to know who sees this disk for the first time."""
    said = []
    if plan.format in _FLAT:
        said += _about_disk(plan, body)
    if plan.virtual_size is None:
        said.append("how large the disk is shows only when all of it is here: give --size to bound it")
    if plan.route is Route.SPOOL:
        said.append("the image is kept beside the disk until it is converted, and needs room there as well")
    return tuple(said)


def _about_disk(plan: Preflight, body: Headed) -> list[str]:
    seen = boot(body.head(HEAD))
    if plan.format is Format.ISO:
        kind = "a bootable CD (ISO 9660)" if seen.optical else "a CD (ISO 9660) that is not bootable"
        return [
            f"this is {kind}: attach it as a cdrom" + (", or as a disk: it is both" if seen.table else "")
        ]
    if plan.virtual_size is not None and plan.virtual_size % _SECTOR:
        return ["its size is no multiple of 512 bytes: it may be cut short, or no disk at all"]
    if seen.empty:
        return [f"its first {HEAD >> 10} KiB are zeros: there is nothing to boot from"]
    if seen.text:
        return [f"it begins with text, as no disk does: {seen.text!r}"]
    if seen.content:
        return [f"the whole disk is one {seen.content} without partitions: a disk of data, not to boot from"]
    if not seen.table and not seen.loader:
        return ["no boot sector or partition table found: a guest does not boot from it"]
    return []


def _about_server(source: Headed) -> list[str]:
    if not source.ranged:
        return ["the source offers no ranges: an import that breaks off starts over"]
    if not source.validator:
        return ["the source gives no strong version (ETag): an import that breaks off starts over"]
    return []
