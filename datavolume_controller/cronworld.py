"""A DataImportCron and everything around it, as it stands."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from datavolume_controller.datasources import Named, named
from diskyard.api import meta, schedule
from diskyard.api import pod as pods
from diskyard.api.boottest import BootTest, Verdict
from diskyard.api.config import Config
from diskyard.api.cron import Import, ImportCron
from diskyard.api.datavolume import Phase
from diskyard.api.meta import SNAPSHOT, Key, Obj
from diskyard.api.names import cdi
from diskyard.api.pod import Facts
from diskyard.api.poll import image
from diskyard.api.rules.datavolume import FAILURES
from diskyard.api.storage import claim

_EPOCH: Final = "1970-01-01T00:00:00Z"


@dataclass(frozen=True)
class World:
    """One cron."""

    obj: Obj
    cron: ImportCron
    config: Config
    now: str
    instant: str
    """The same with microseconds: two images may be used within one second."""
    poller: Obj | None = None
    """The pod that looks at the source."""
    dv: Obj | None = None
    """Of the image that is imported, or was last."""
    claim: Obj | None = None
    """Of that image."""
    data_source: Obj | None = None
    rival: str = ""
    """Another cron, which is there, whose the DataSource is."""
    origin: Obj | None = None
    """The claim that is the source itself."""
    denied: str = ""
    """Why that claim, of another namespace, may not be cloned."""
    snapshot: Obj | None = None
    """Of that image, where images are kept as snapshots, or were."""
    images: tuple[Obj, ...] = ()
    """The claims and snapshots of all images of this cron."""
    storage_class: str = ""
    """Where images go now."""
    snapshot_class: str = ""
    """The class of the snapshots that images are kept as there; empty: they are kept as claims."""
    owner_only: bool = False
    """Whether images are to be ReadWriteOnce there."""
    boot: BootTest | None = None
    """How a new image is tried."""
    illegal: str = ""
    """Why that cannot be told."""
    trial: Obj | None = None
    """The guest that it is tried in."""
    untested: str = ""
    """Why that guest, which somebody has described, may not be made."""

    @property
    def current(self) -> Import | None:
        """The image that is imported, or was last."""
        return self.cron.current

    @property
    def wanted(self) -> Import | None:
        """The image that is to be there."""
        if not self.cron.desired:
            return None
        return Import(image(self.cron.data_source.name, self.cron.desired), self.cron.desired)

    @property
    def outdated(self) -> bool:
        """Whether the source has something else than what was imported last."""
        return self.wanted is not None and (self.current is None or self.current.digest != self.wanted.digest)

    @property
    def phase(self) -> str:
        """Of the import; empty where there is none."""
        return "" if self.dv is None else meta.phase(self.dv) or Phase.PENDING

    @property
    def by_snapshot(self) -> bool:
        """Whether images are kept as snapshots."""
        return bool(self.snapshot_class)

    @property
    def entry(self) -> str:
        """What a DataSource stands for."""
        return "snapshot" if self.by_snapshot else "pvc"

    @property
    def fresh(self) -> bool:
        """Whether there is a snapshot, and of that class."""
        held = self.snapshot or {}
        return (
            bool(held)
            and not meta.deleting(held)
            and meta.spec(held).get("volumeSnapshotClassName") == self.snapshot_class
        )

    @property
    def snapped(self) -> bool:
        """Whether it can be used."""
        return self.fresh and meta.status(self.snapshot or {}).get("readyToUse") is True

    @property
    def unsnapped(self) -> str:
        """Why it cannot be taken; empty: nothing is known."""
        error = meta.status(self.snapshot or {}).get("error")
        return str(error.get("message") or "") if isinstance(error, dict) else ""

    @property
    def done(self) -> bool:
        """Whether the image is complete."""
        return self.whole or (self.by_snapshot and self.fresh)

    @property
    def ready(self) -> bool:
        """Whether the image may be used, as what it is to be kept as."""
        there = self.snapped if self.by_snapshot else self.whole
        return self.good and there and self.current is not None and not self.moved

    @property
    def busy(self) -> bool:
        """Whether something is done with the complete image: it is tried, or a snapshot is taken of it."""
        snapping = self.by_snapshot and self.good and not self.snapped and not self.unsnapped
        return self.testing or snapping

    @property
    def whole(self) -> bool:
        """Whether the import is complete, and what it has filled is there."""
        if self.dv is not None:
            return self.phase == Phase.SUCCEEDED
        return self.claim is not None and _full(self.claim)

    @property
    def kept(self) -> bool:
        """Whether the image that is wanted is there from before, as what images are kept as."""
        name = self.wanted.name if self.wanted else ""
        return any(meta.name(each) == name and self._usable(each) for each in self.images)

    def _usable(self, image: Obj) -> bool:
        if image.get("kind") != SNAPSHOT.kind:
            return _full(image)
        same = meta.spec(image).get("volumeSnapshotClassName") == self.snapshot_class
        return same and not meta.deleting(image)

    @property
    def verdict(self) -> Verdict | None:
        """How the image did in the boot test that is asked for; None: not known."""
        image = self.claim or self.snapshot or {}
        said = Verdict.from_text(meta.annotations(image).get(cdi.BOOT_TEST, ""))
        return said if said and self.boot and said.mark == self.boot.mark else None

    @property
    def testing(self) -> bool:
        """Whether the image is complete, and to be tried: as long as there is a claim of it."""
        return self.whole and self.boot is not None and self.verdict is None

    @property
    def good(self) -> bool:
        """Whether the image is complete, and has passed every test that is asked for."""
        return self.done and not self.testing and not self.illegal and not self.bad

    @property
    def bad(self) -> bool:
        """Whether the image is complete, and does not boot."""
        return self.done and self.verdict is not None and bool(self.verdict.failed)

    @property
    def failing(self) -> bool:
        """Whether the import fails, and perhaps is tried again; or its image is no good."""
        if self.bad:
            return True
        if self.dv is None:
            return False
        running = meta.condition(self.dv, "Running") or {}
        tried = running.get("status") == "False" and running.get("reason") in FAILURES
        return self.phase == Phase.FAILED or (tried and not self.whole)

    @property
    def lost(self) -> bool:
        """Whether somebody took the image away."""
        there = self.dv or self.claim or (self.by_snapshot and self.fresh)
        return self.current is not None and not there

    @property
    def moved(self) -> bool:
        """Whether images go to another class than the current one did."""
        held = self.cron.annotations.get(cdi.CRON_CLASS, "")
        return bool(held) and bool(self.storage_class) and held != self.storage_class

    @property
    def facts(self) -> Facts:
        """What has happened to the pod that looks."""
        return pods.facts(self.poller or {})

    @property
    def points_at(self) -> Named | None:
        """What the DataSource stands for."""
        return named(meta.spec(self.data_source or {}).get("source"), self.cron.key.namespace)

    @property
    def held(self) -> bool:
        """Whether the DataSource is to stay where it is."""
        return cdi.HELD in meta.annotations(self.data_source or {})

    @property
    def due(self) -> float | None:
        """Seconds until the source is to be looked at; None: never."""
        if not self.cron.schedule:
            return None
        now, last = meta.moment(self.now), self.cron.annotations.get(cdi.LAST_CRON_TIME, "")
        if not last:
            return 0.0
        following = self.following(min(_moment(last), now))
        return None if following is None else max(0.0, (following - now).total_seconds())

    def following(self, after: datetime) -> datetime | None:
        """When the source is looked at next."""
        return schedule.following(self.cron.schedule, after, self.cron.uid)

    def digest_of(self, name: str) -> str:
        """The version that is in one of the images; empty: not known."""
        found = next((each for each in self.images if meta.name(each) == name), None)
        return meta.annotations(found or {}).get(cdi.DIGEST, "")

    @property
    def target(self) -> Key:
        """The claim of the current image."""
        return Key(self.current.name if self.current else "", self.cron.key.namespace)


def _full(claim_: Obj) -> bool:
    """Whether a claim without its DataVolume holds a whole image."""
    return meta.phase(claim_) == "Bound" and not meta.deleting(claim_) and not claim(claim_).unfilled


def _moment(text: str) -> datetime:
    """Anybody may write the annotation."""
    try:
        found = meta.moment(text)
    except ValueError:
        return meta.moment(_EPOCH)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
