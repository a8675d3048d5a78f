"""The pod that looks at a cron's source, and what it has found. Pure."""

from dataclasses import replace
from typing import Final

from datavolume_controller import importer
from datavolume_controller.asked import PASSED, asked
from datavolume_controller.cronworld import World
from datavolume_controller.mounts import mounts
from diskyard.api import meta
from diskyard.api import pod as pods
from diskyard.api.cron import ImportCron
from diskyard.api.meta import IMPORT_CRON, Obj
from diskyard.api.names import cdi, derived
from diskyard.api.origin import origin
from diskyard.api.storage import Claim

CONTAINER: Final = "poller"


def name(cron: ImportCron) -> str:
    """What the pod is called."""
    return derived.poller(cron.key.name, cron.uid)


def pod(world: World) -> Obj:
    """The pod: an importer that has no volume, and only says which version is there."""
    cron, config = world.cron, world.config
    as_asked = _as_asked(cron)
    required, optional = importer.credentials(as_asked)
    job = replace(importer.job(as_asked, config), owner_uid=cron.uid, image_size="")
    newest = {cdi.ENV_NEWEST: cron.pattern} if cron.pattern else {}
    beside = mounts(as_asked, config)
    worker = pods.Worker(
        container=CONTAINER,
        command=importer.COMMAND,
        env={**job.to_env(), **importer.verbosity(config), cdi.ENV_POLL: "true", **newest},
        secret_env=required,
        optional_env=optional,
        mounts=tuple((each.name, each.path) for each in beside),
        volumes=tuple(each.volume for each in beside),
        resources=config.resources,
        pull_policy=config.pull_policy,
        field_env={},
        grace=0,
    )
    return pods.pod(worker, _metadata(world), **config.pod_spec)


def _as_asked(cron: ImportCron) -> Claim:
    """A claim as the template's would be, as far as it says where the source is and with what secrets."""
    found = origin(cron.source)
    said = {**meta.annotations(cron.template), **cron.annotations}
    passed = {key: said[key] for key in PASSED if key in said}
    return Claim(
        key=cron.key, uid=cron.uid, deleting=False, labels={}, owner_uid="", controller_uid="", phase="",
        annotations={**passed, **(asked(found) if found else {})}, storage_class="", block=False, request="",
    )  # fmt: skip


def _metadata(world: World) -> Obj:
    cron = world.cron
    said = meta.annotations(cron.template)
    return {
        "name": name(cron),
        "namespace": cron.key.namespace,
        "labels": {
            cdi.APP_LABEL: cdi.APP,
            cdi.COMPONENT_LABEL: cdi.IMPORTER,
            cdi.POLLER_LABEL: "",
            cdi.CRON_LABEL: cron.key.name,
            cdi.MANAGED_BY_LABEL: cdi.MANAGED_BY,
            cdi.COMPONENT_OF_LABEL: cdi.STORAGE,
        },
        "annotations": {
            **cdi.MESH_DEFAULTS,
            **{key: said[key] for key in cdi.POD_ANNOTATIONS if key in said},
        },
        "ownerReferences": [meta.owner_reference(IMPORT_CRON, world.obj)],
    }
