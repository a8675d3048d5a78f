"""What Prometheus is told about CDI's objects, under CDI's names (cdi-wire: metrics), from what is in memory."""

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from datavolume_controller.capability import UNSUPPORTED
from diskyard.api import meta
from diskyard.api.meta import CDI, DATA_VOLUME, IMPORT_CRON, STORAGE_CLASS, STORAGE_PROFILE, Key, Obj
from diskyard.api.storage import StorageClass, storage_class
from diskyard.kube.cache import counts_by
from diskyard.kube.client import Client
from diskyard.kube.memory import Index

INFO_LABELS: Final = (
    "storageclass", "provisioner", "complete", "default", "virtdefault", "rwx", "smartclone", "degraded",
)  # fmt: skip
_NO_CLASS: Final = Key("")
_INITIAL: Final = -1


def _phase(dv: Obj) -> Iterable[Key]:
    yield Key(meta.phase(dv) or "Unset")


def _pending(dv: Obj) -> Iterable[Key]:
    """Under no name: a DataVolume that waits and names no class."""
    wanted = meta.spec(dv).get("storage") or meta.spec(dv).get("pvc") or {}
    if meta.phase(dv) in ("", "Pending") and not wanted.get("storageClassName"):
        yield _NO_CLASS


PHASES: Final = Index(DATA_VOLUME, _phase)
PENDING: Final = Index(DATA_VOLUME, _pending)


class Objects(Collector):
    """The figures of the moment, whenever somebody asks."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering asks no server, which may be the first to be busy."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Each metric with its samples."""
        classes = [storage_class(each) for each in self._client.list(STORAGE_CLASS).items]
        yield _profiles(classes, self._client.list(STORAGE_PROFILE).items)
        defaults = any(each.default or each.virt_default for each in classes)
        waiting = 0 if defaults else counts_by(self._client, PENDING).get(_NO_CLASS, 0)
        yield _gauge(
            "kubevirt_cdi_datavolume_pending",
            "Number of DataVolumes pending for default storage class to be configured",
            waiting,
        )
        yield _crons(self._client.list(IMPORT_CRON).items, placed=defaults)
        yield _gauge("kubevirt_cdi_cr_ready", "CDI install ready", ready(self._client.list(CDI).items))
        phases = GaugeMetricFamily("diskyard_datavolumes", "DataVolumes by phase", labels=["phase"])
        for key, count in sorted(counts_by(self._client, PHASES).items()):
            phases.add_metric([key.name], count)
        yield phases


def ready(cdis: Iterable[Obj]) -> int:
    """1 where CDI says that it is available, 0 where it says that it is not, -1 where nobody says."""
    for each in cdis:
        said = meta.condition(each, "Available")
        if said:
            return int(said.get("status") == "True")
    return _INITIAL


def described(chosen: StorageClass, profile: Obj) -> tuple[str, ...]:
    """The labels of one StorageProfile, in the order of INFO_LABELS."""
    status = meta.status(profile)
    sets = status.get("claimPropertySets") or ()
    complete = bool(sets) or chosen.provisioner in UNSUPPORTED
    shared = any("ReadWriteMany" in (each.get("accessModes") or ()) for each in sets)
    strategy = status.get("cloneStrategy")
    smart = strategy == "csi-clone" or (strategy == "snapshot" and bool(status.get("snapshotClass")))
    flags = (complete, chosen.default, chosen.virt_default, shared, smart, not (smart and shared))
    return (chosen.name, chosen.provisioner, *("true" if flag else "false" for flag in flags))


def _profiles(classes: Iterable[StorageClass], profiles: Iterable[Obj]) -> Metric:
    by_name = {meta.name(each): each for each in profiles}
    found = GaugeMetricFamily(
        "kubevirt_cdi_storageprofile_info",
        "StorageProfiles info: where complete is false, access and volume mode cannot be inferred",
        labels=INFO_LABELS,
    )
    for chosen in classes:
        if chosen.name in by_name:
            found.add_metric(described(chosen, by_name[chosen.name]), 1)
    return found


def _crons(crons: Iterable[Obj], *, placed: bool) -> Metric:
    """`pending`: nothing can be imported yet, for there is no default storage class."""
    found = GaugeMetricFamily(
        "kubevirt_cdi_dataimportcron_outdated",
        "DataImportCron has an outdated import",
        labels=("namespace", "cron_name", "pending"),
    )
    for each in crons:
        current = meta.holds(each, "UpToDate")
        pending = "false" if placed else "true"
        found.add_metric((meta.namespace(each), meta.name(each), pending), int(not current))
    return found


def _gauge(name: str, told: str, value: float) -> Metric:
    found = GaugeMetricFamily(name, told)
    found.add_metric([], value)
    return found
