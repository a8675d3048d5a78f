"""Every error that a user can meet, in one tree.

    DiskyardError
    ├── Refused                 can never work as asked: no retry helps (exit code 3)
    │   ├── InvalidRequest      a field, a URL or an option is wrong
    │   ├── SourceMissing       the source says that it has no such thing (404)
    │   ├── NotStored           the node has no such image, and none may be fetched
    │   ├── AccessDenied        the source refuses these credentials (401, 403)
    │   ├── UnsafeImage         the image reaches outside itself, or is several things at once
    │   ├── UnsupportedImage    not a disk, or a feature that we do not read
    │   ├── ImageTooLarge       the disk does not fit what was asked for
    │   └── ChecksumMismatch    the bytes are not the ones that were promised
    ├── Passing                 may work when tried again (exit code 4)
    │   ├── SourceUnavailable   no connection, a broken one, or a server in trouble
    │   ├── SourceChanged       the source is another one than when we began
    │   ├── NoSpace             the target's file system is full
    │   ├── Busy                someone else holds what we need
    │   └── GuestFailed         the hypervisor could not start the guest, or lost it
    └── ApiError                an answer of an API server; `code` is its HTTP status
        ├── BadRequest 400      Unauthorized 401     Forbidden 403     NotFound 404
        ├── MethodNotAllowed 405                     Conflict 409      AlreadyExists 409
        ├── Expired 410         Invalid 422          TooManyRequests 429
        └── ServerError 500

Each class says its `reason` (CamelCase, visible to users) and whether it is `fatal`. Each message says
what was expected, what was found, where, and what to change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


class DiskyardError(Exception):
    """The root: an error whose text is meant for the user."""

    reason: ClassVar[str] = "Error"
    fatal: ClassVar[bool] = False


class Refused(DiskyardError):
    """What was asked can never work as asked."""

    reason = "Refused"
    fatal = True


class InvalidRequest(Refused):
    """A field, a URL or an option is wrong."""

    reason = "InvalidRequest"


class SourceMissing(Refused):
    """The source says that it has no such thing."""

    reason = "SourceMissing"


class NotStored(Refused):
    """The node has no such image, and none may be fetched."""

    reason = "ErrImageNeverPull"


class AccessDenied(Refused):
    """The source refuses these credentials, or wants some."""

    reason = "AccessDenied"


class UnsafeImage(Refused):
    """The image reaches outside itself, or is several things at once."""

    reason = "UnsafeImage"


class UnsupportedImage(Refused):
    """Not a disk image, or one with a feature that we do not read."""

    reason = "UnsupportedImage"


class ImageTooLarge(Refused):
    """The disk inside the image does not fit the target."""

    reason = "ImageTooLarge"


class ChecksumMismatch(Refused):
    """The bytes that arrived are not the ones that were promised."""

    reason = "ChecksumError"


class Passing(DiskyardError):
    """It did not work now; it may when tried again."""

    reason = "Passing"


class SourceUnavailable(Passing):
    """The source cannot be reached, broke off, or is in trouble."""

    reason = "SourceUnavailable"

    def __init__(self, message: str, after: float = 0.0) -> None:
        """`after`: seconds that the source has asked us to stay away."""
        super().__init__(message)
        self.after = after


class SourceChanged(Passing):
    """The source is another one than when the transfer began."""

    reason = "SourceChanged"


class NoSpace(Passing):
    """The target's file system is full."""

    reason = "NoSpace"


class Busy(Passing):
    """Someone else holds what we need."""

    reason = "Busy"


class GuestFailed(Passing):
    """The hypervisor could not start the guest, or lost it."""

    reason = "GuestFailed"


@dataclass(frozen=True)
class Cause:
    """One entry of `Status.details.causes`: `reason` as Kubernetes names them (FieldValueInvalid ...)."""

    message: str
    field: str = ""
    reason: str = "FieldValueInvalid"

    def wire(self) -> dict[str, str]:
        """The cause as it stands in a Status."""
        return {"reason": self.reason, "message": self.message, "field": self.field}


class ApiError(DiskyardError):
    """An answer of an API server, as `metav1.Status` carries it."""

    code: ClassVar[int] = 500
    reason = "InternalError"

    def __init__(
        self, message: str, causes: Sequence[Cause] = (), *, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.causes = tuple(causes)
        self.details = dict(details or {})
        self._detailed = details is not None
        """Whether to say even that there are no details, as Kubernetes does of some errors."""

    def status(self) -> dict[str, Any]:
        """The `metav1.Status` that says this."""
        details = dict(self.details)
        if self.causes:
            details["causes"] = [cause.wire() for cause in self.causes]
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            **({"details": details} if details or self._detailed else {}),
            "code": self.code,
        }


class BadRequest(ApiError):
    """400: the request itself makes no sense."""

    code = 400
    reason = "BadRequest"


class Unauthorized(ApiError):
    """401: no valid credentials."""

    code = 401
    reason = "Unauthorized"


class Forbidden(ApiError):
    """403: valid credentials, not for this; or a policy (quota, admission) that says no."""

    code = 403
    reason = "Forbidden"


class NotFound(ApiError):
    """404: no such object, or no such resource."""

    code = 404
    reason = "NotFound"


class MethodNotAllowed(ApiError):
    """405: the resource does not know this verb."""

    code = 405
    reason = "MethodNotAllowed"


class Conflict(ApiError):
    """409: the object has moved on; read it again."""

    code = 409
    reason = "Conflict"


class AlreadyExists(ApiError):
    """409: an object of that name is there."""

    code = 409
    reason = "AlreadyExists"


class Expired(ApiError):
    """410: that resourceVersion is no longer kept; list again."""

    code = 410
    reason = "Expired"


class Invalid(ApiError):
    """422: the object breaks a rule; `causes` name the fields."""

    code = 422
    reason = "Invalid"


class TooManyRequests(ApiError):
    """429: come back later."""

    code = 429
    reason = "TooManyRequests"


class ServerError(ApiError):
    """500: the server failed, or could not be reached (`code` 500, reason ServiceUnavailable in the text)."""


API_ERRORS: tuple[type[ApiError], ...] = (
    BadRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, AlreadyExists, Conflict, Expired,
    Invalid, TooManyRequests,
)  # fmt: skip


def api_error(status: Mapping[str, Any], code: int = 500) -> ApiError:
    """The error that a `metav1.Status` stands for; `code` where the body has none."""
    code = int(status.get("code") or code)
    reason = status.get("reason") or ""
    details = dict(status.get("details") or {})
    causes = [
        Cause(str(c.get("message", "")), str(c.get("field", "")), str(c.get("reason", "")))
        for c in details.pop("causes", None) or ()
    ]
    message = str(status.get("message") or f"the server answered {code} without a message")
    same_code = [kind for kind in API_ERRORS if kind.code == code]
    exact = [kind for kind in same_code if kind.reason == reason]
    kind = (exact or same_code[-1:] or [ServerError])[0]
    return kind(message, causes, details=details)
