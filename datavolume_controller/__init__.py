"""The program that gives each DataVolume its claim and has it filled."""

from typing import Any

from datavolume_controller.authorities import Authorities
from datavolume_controller.cdis import CDIs
from datavolume_controller.cloneright import MayOf
from datavolume_controller.clones import Clones
from datavolume_controller.configs import Configs
from datavolume_controller.crons import Crons
from datavolume_controller.datasources import DataSources
from datavolume_controller.datavolumes import DataVolumes
from datavolume_controller.imports import Imports
from datavolume_controller.pendings import Pendings
from datavolume_controller.populators import Populators
from datavolume_controller.profiles import Profiles
from datavolume_controller.progress import Scraper
from datavolume_controller.uploads import Uploads
from diskyard.kube.access import asked_of
from diskyard.kube.reconcile import Reconciler


def reconcilers(scraper: Scraper, may_of: MayOf = asked_of) -> list[Reconciler[Any]]:
    """Everything that this program does, for `Controllers`. Who made the scraper closes it.

    `may_of`: who says what somebody may; the API server, unless there is a shorter way.
    """
    return [
        DataVolumes(scraper),
        Imports(scraper),
        Populators(scraper),
        Clones(may_of),
        Uploads(scraper),
        Pendings(),
        Authorities(),
        DataSources(),
        Crons(may_of),
        CDIs(),
        Configs(),
        Profiles(),
    ]
