"""What S3's error codes mean, and what to change."""

from collections.abc import Mapping
from typing import Any, Final

from botocore import exceptions as boto

from diskyard.errors import (
    AccessDenied,
    DiskyardError,
    InvalidRequest,
    SourceChanged,
    SourceMissing,
    SourceUnavailable,
)
from importer.request import retry_after

Meaning = tuple[type[DiskyardError], str]

_MEANINGS: Final[Mapping[str, Meaning]] = {
    "NoSuchBucket": (SourceMissing, "there is no such bucket. Correct its name, or the endpoint"),
    "NoSuchKey": (SourceMissing, "there is no such key in the bucket. Correct the key: upper and lower case differ"),
    "NoSuchVersion": (SourceMissing, "there is no such version. Correct versionId, or leave it out"),
    "MethodNotAllowed": (SourceMissing, "this version is a mark that the object was deleted. Name another one"),
    "SignatureDoesNotMatch": (AccessDenied, "the signature does not match. Correct the secret key (secretKey)"),
    "InvalidAccessKeyId": (
        AccessDenied, "the server does not know the access key. Correct it (accessKeyId), or the endpoint",
    ),
    "ExpiredToken": (AccessDenied, "the session token has expired. Get fresh credentials"),
    "TokenRefreshRequired": (AccessDenied, "the session token has expired. Get fresh credentials"),
    "InvalidToken": (AccessDenied, "the session token is not valid. Give the one that belongs to the access key"),
    "RequestTimeTooSkewed": (
        SourceUnavailable, "this machine's clock is too far from the server's. Set the clock (NTP)",
    ),
    "InvalidObjectState": (InvalidRequest, "the object is archived. Restore it, then import it"),
    "PreconditionFailed": (
        SourceChanged, "the object has changed while it was read. The transfer starts over with the new one",
    ),
    "RequestTimeout": (SourceUnavailable, "the server has waited too long. It is tried again"),
}  # fmt: skip
_OTHER_REGION: Final = {
    "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect", "TemporaryRedirect",
    "301", "307",
}  # fmt: skip


_SLOWER: Final = "SlowDown"
"""Amazon's way of saying 429."""


def refusal(response: Mapping[str, Any], where: object, *, signed: bool) -> DiskyardError:
    """The error that an answer of the server stands for; `where` is the object as messages show it."""
    said = response.get("Error", {})
    code, message = str(said.get("Code", "")), str(said.get("Message", "")).rstrip(". ")
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = headers.get("x-amz-bucket-region", "")
    kind, advice = _MEANINGS.get(code) or _meaning(
        code, status, str(said.get("Region", region)), signed=signed
    )
    found = kind(f"cannot read {where}: {advice} (status {status}, {code}: {message})")
    if isinstance(found, SourceUnavailable):
        found.after = retry_after(429 if code == _SLOWER else status, headers)
    return found


def _meaning(code: str, status: int, region: str, *, signed: bool) -> Meaning:
    if code in _OTHER_REGION:
        name = f"it is {region}. G" if region else "g"
        return (
            InvalidRequest,
            f"the bucket is in another region: {name}ive the right one (--region, or its endpoint)",
        )
    if status == 404:
        return SourceMissing, "there is no such thing. Correct the URL"
    if status in (401, 403) and signed:
        return AccessDenied, "these credentials may not read it. Allow them s3:GetObject, or give others"
    if status in (401, 403):
        return (
            AccessDenied,
            "it is not public. Give credentials that may read it (secretRef, AWS_ACCESS_KEY_ID)",
        )
    if status in (408, 429) or (status >= 500 and status != 501):
        return SourceUnavailable, "the server is in trouble or busy. It is tried again"
    return InvalidRequest, "the server does not take this request. Correct the URL"


def trouble(error: boto.BotoCoreError, where: object) -> DiskyardError:
    """The error that stands for what boto3 met before there was an answer."""
    if isinstance(error, boto.SSLError):
        return InvalidRequest(
            f"cannot read {where}: the server's certificate is not trusted. Give its authority's certificate "
            f"(certConfigMap, or --ca), or correct the URL ({error})"
        )
    if isinstance(error, (boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError)):
        return SourceUnavailable(f"cannot reach {where}: {error}")
    if isinstance(
        error, (boto.CredentialRetrievalError, boto.NoCredentialsError, boto.PartialCredentialsError)
    ):
        return AccessDenied(f"cannot read {where}: no usable credentials. Give both keys, or none ({error})")
    return InvalidRequest(f"cannot read {where}: {error}. Correct the URL, or the profile")
