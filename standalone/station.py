"""What a yard and an outpost have in common: a data directory that is held, and pods that outlive the process."""

from contextlib import ExitStack
from typing import Self

from standalone.crew import Crew
from standalone.directory import Hold


class Station:
    """Something that runs on a data directory until it is closed. Closing leaves pods running."""

    _crew: Crew
    _hold: Hold
    _stack: ExitStack

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def lost(self) -> bool:
        """Whether its data directory is there no more."""
        return self._hold.lost

    def stop_pods(self) -> None:
        """End every pod's processes gracefully; their objects stay, so that the next start runs what should run."""
        self._crew.stop_pods()

    def kill_pods(self) -> None:
        """End every pod's processes at once, where the data directory is lost."""
        self._crew.kill_pods()
