"""Make an object, or say on another one why the server does not let us: quotas, policies, bad values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import Kind, Obj
from diskyard.errors import BadRequest, Forbidden, Invalid, NotFound
from diskyard.kube.client import Client
from diskyard.kube.reconcile import Create, Merge, Tell

QUOTA: Final = "ErrExceededQuota"
_REFUSED: Final = "ErrCreationRefused"


@dataclass(frozen=True)
class CreateOrExplain:
    """Create; when that is refused, an event about and a patch of `about` say why, and it is tried again."""

    create: Create
    kind: Kind
    about: Obj
    patch: Callable[[str, str], Obj]
    """(reason, message) -> what `about` is to say."""
    subresource: str = ""
    reason: str = ""
    """Under which all of them are told; empty: ErrExceededQuota, ErrCreationRefused."""

    def carry_out(self, client: Client) -> None:
        """Make it. Raises what the server said."""
        try:
            self.create.carry_out(client)
        except (Forbidden, Invalid, BadRequest, NotFound) as refused:
            reason = self.reason or (QUOTA if "exceeded quota" in str(refused) else _REFUSED)
            patch = self.patch(reason, str(refused))
            Tell(self.kind, self.about, reason, str(refused), warning=True).carry_out(client)
            Merge(self.kind, meta.key(self.about), patch, self.subresource).carry_out(client)
            raise
