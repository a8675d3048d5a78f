"""What an upload server answers its controller: how far the upload is, and which ones have come to nothing."""

import json
from collections import deque
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Final

from diskyard.api import meta
from diskyard.api.progress import Failure, Figures
from diskyard.errors import DiskyardError
from uploadproxy.session import Session, refusal

KEPT: Final = 10
_LONGEST: Final = 700
"""Characters of a message."""


class Account:
    """The failures of one server so far, the newest of them kept."""

    def __init__(self) -> None:
        self._failures: deque[Failure] = deque(maxlen=KEPT)
        self._count = 0

    def note(self, failed: Session) -> None:
        """Remember why an upload came to nothing."""
        error = failed.error
        if error is None:
            return
        self._count += 1
        self._failures.append(
            Failure(
                number=self._count,
                time=meta.timestamp(datetime.now(UTC)),
                reason=error.reason if isinstance(error, DiskyardError) else "InternalError",
                message=refusal(error)[1][:_LONGEST],
                bytes=failed.received,
            )
        )

    def to_text(self, owner_uid: str, session: Session | None) -> str:
        """JSON, as importers report."""
        figures = Figures()
        if session is not None and not session.task.done():
            said = session.progress
            figures = Figures(
                percent=said.percent,
                fetched=session.received,
                total=said.total,
                written=said.written,
                limit=said.limit,
            )
        failures = [asdict(each) for each in self._failures]
        return json.dumps({"ownerUID": owner_uid, **figures.to_dict(), "failures": failures}) + "\n"
