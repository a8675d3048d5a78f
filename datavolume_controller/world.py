"""One DataVolume and what surrounds it, as they stand, and what follows from that at once. Pure."""

from dataclasses import dataclass, field

from datavolume_controller import population
from datavolume_controller.claim import Storage
from datavolume_controller.cloning import Cloning
from diskyard.api.config import Config
from diskyard.api.datavolume import DataVolume
from diskyard.api.meta import Obj
from diskyard.api.names import cdi
from diskyard.api.progress import Figures
from diskyard.api.storage import Claim


@dataclass(frozen=True)
class World:
    """What is decided over."""

    obj: Obj
    dv: DataVolume
    claim_obj: Obj | None
    claim: Claim | None
    storage: Storage
    config: Config
    figures: Figures | None
    """How far its importer is; None: not running, or it has not said."""
    now: str
    source_obj: Obj | None = None
    """What says to our populators what fills the claim; None: there is none."""
    data_source: Obj | None = field(default=None)
    """The DataSource that it refers to; None where there is none."""
    cloning: Cloning | None = None
    """What it is cloned from, where it is."""

    @property
    def owns(self) -> bool:
        """Whether the claim is this DataVolume's."""
        return self.claim is not None and self.claim.controller_uid == self.dv.uid

    @property
    def filled_before(self) -> bool:
        """Whether the claim holds its contents without our work: restored from a backup, or adopted."""
        if self.claim is None:
            return False
        if self.claim.annotations.get(cdi.POPULATED_FOR) == self.dv.key.name:
            return True
        return self.claim.annotations.get(cdi.CREATED_FOR) != self.dv.uid and adopts(self.dv, self.config)

    @property
    def foreign(self) -> bool:
        """Whether the claim belongs to somebody else."""
        return self.claim is not None and not self.owns and not self.filled_before

    @property
    def populated(self) -> bool:
        """Whether one of our populators fills the claim."""
        return self.claim is not None and population.ours(self.claim.populator) is not None

    @property
    def by_hand(self) -> bool:
        """Whether the claim waits for a volume that was made for it by hand."""
        return self.claim is not None and cdi.VOLUME_LIST in self.claim.annotations

    @property
    def waits(self) -> bool:
        """Whether the claim is bound only when a pod needs it, and we honour that."""
        if self.claim is None or self.claim.immediate or self.dv.immediate:
            return False
        storage_class = self.storage.named(self.claim.storage_class)
        if storage_class is None or not storage_class.waits:
            return False
        return not self.claim.node if self.populated else self.config.honours_waiting


def adopts(dv: DataVolume, config: Config) -> bool:
    """Whether the DataVolume takes a claim of its name over: its own word, else the feature gate."""
    said = dv.annotations.get(cdi.ALLOW_ADOPTION)
    return config.adopts if said is None else said.lower() == "true"
