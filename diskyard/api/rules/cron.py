"""Admission of DataImportCrons. Texts are CDI's; web servers and buckets are served, too. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from diskyard.api import cron, meta, schedule
from diskyard.api.boottest import boot_test
from diskyard.api.meta import Obj
from diskyard.api.names import cdi
from diskyard.api.origin import present
from diskyard.api.rules import datavolume
from diskyard.errors import Cause, InvalidRequest

NAME_LIMIT: Final = 63
"""Of a label's value: what a cron makes is labelled with its name."""
SOURCES: Final = ("registry", "pvc", "http", "s3", "gcs")
_UNSETTABLE: Final = ("sourceRef", "contentType", "checkpoints", "finalCheckpoint")
_FOLDERS: Final = ("http", "s3", "gcs")
_LISTED: Final = ("http", "gcs")
"""Folders that cannot be listed but by a file of checksums."""


def causes(obj: Obj, old: Obj | None) -> Sequence[Cause]:
    """What is wrong with a DataImportCron; nothing: it is admitted."""
    if old is not None:
        if meta.spec(obj) == meta.spec(old):
            return () if meta.annotations(obj) == meta.annotations(old) else _boot(obj)
        return (Cause("Cannot update DataImportCron Spec", "DataImportCron", "FieldValueDuplicate"),)
    return next((found for rule in _RULES if (found := rule(obj))), ())


def _name(obj: Obj) -> Sequence[Cause]:
    if len(meta.name(obj)) <= NAME_LIMIT:
        return ()
    return (Cause("Name cannot be longer than 63 characters", "metadata.name"),)


def _template(obj: Obj) -> Obj:
    found = meta.spec(obj).get("template")
    return found if isinstance(found, dict) else {}


def _source(obj: Obj) -> Sequence[Cause]:
    found = present(meta.spec(_template(obj)).get("source"))
    if len(found) == 1 and found[0] in SOURCES:
        return ()
    message = f"Missing source: expected one of {', '.join(SOURCES)}, found {', '.join(found) or 'none'}"
    return (Cause(message, "spec.template.spec.source"),)


def _settable(obj: Obj) -> Sequence[Cause]:
    if not any(meta.spec(_template(obj)).get(name) for name in _UNSETTABLE):
        return ()
    message = "Unsettable fields: SourceRef, ContentType, Checkpoints, FinalCheckpoint"
    return (Cause(message, "spec.template"),)


def _volume(obj: Obj) -> Sequence[Cause]:
    """As a DataVolume of its own."""
    template = {**_template(obj), "metadata": {"name": "template"}}
    found = datavolume.causes(template, None, datavolume.Facts())
    return tuple(replace(each, field=f"spec.template.{each.field}") for each in found)


def _folder(obj: Obj) -> Sequence[Cause]:
    """A pattern is over the files of a folder, which neither a web server nor Google's bucket lists for us."""
    template = _template(obj)
    source = meta.spec(template)["source"]
    kind = present(source)[0]
    said = {**meta.annotations(template), **meta.annotations(obj)}
    folder = str(source[kind].get("url") or "").partition("?")[0].endswith("/")
    field = f"spec.template.spec.source.{kind}.url"
    if folder and kind in _FOLDERS:
        if kind in _LISTED and cdi.CHECKSUM_URL not in said:
            message = (
                f"Illegal source URL: it ends in / and so is a folder, which {kind} does not list; name the file "
                f"of checksums that tells what is in it (annotation {cdi.CHECKSUM_URL} of the template), or one file"
            )
            return (Cause(message, field),)
        return ()
    if cdi.NEWEST in said:
        message = (
            f"Illegal {cdi.NEWEST}: it chooses among the files of a folder; end the URL (s3, http, gcs) in /"
        )
        return (Cause(message, f"metadata.annotations[{cdi.NEWEST}]"),)
    return ()


def _schedule(obj: Obj) -> Sequence[Cause]:
    why = schedule.problem(str(meta.spec(obj).get("schedule") or "").strip())
    return (Cause(f"Illegal cron schedule: {why}", "spec.schedule"),) if why else ()


def _keep(obj: Obj) -> Sequence[Cause]:
    keep = meta.spec(obj).get("importsToKeep")
    return (
        (Cause("Illegal ImportsToKeep value", "spec.importsToKeep"),) if keep is not None and keep < 0 else ()
    )


def _one_of(name: str, field: str, *known: str) -> "Rule":
    def rule(obj: Obj) -> Sequence[Cause]:
        said: Any = meta.spec(obj).get(field)
        if said is None or said in known:
            return ()
        message = f"Illegal {name} value: expected {' or '.join(known)}, found {said!r}"
        return (Cause(message, f"spec.{field}"),)

    return rule


def _data_source(obj: Obj) -> Sequence[Cause]:
    name = str(meta.spec(obj).get("managedDataSource") or "")
    if not name:
        return (Cause("Illegal ManagedDataSource value", "spec.managedDataSource"),)
    if len(name) > NAME_LIMIT:
        return (
            Cause("Illegal ManagedDataSource value: longer than 63 characters", "spec.managedDataSource"),
        )
    return ()


def _boot(obj: Obj) -> Sequence[Cause]:
    try:
        boot_test(meta.annotations(obj))
    except InvalidRequest as error:
        return (Cause(str(error), f"metadata.annotations[{cdi.BOOT_SAYS}]"),)
    return ()


Rule = Callable[[Obj], Sequence[Cause]]
_RULES: Final[tuple[Rule, ...]] = (
    _name, _source, _settable, _volume, _folder, _schedule, _keep,
    _one_of("GarbageCollect", "garbageCollect", cron.OUTDATED, cron.NEVER),
    _one_of("RetentionPolicy", "retentionPolicy", cron.ALL, cron.NONE),
    _data_source, _boot,
)  # fmt: skip
