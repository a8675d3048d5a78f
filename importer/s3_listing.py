"""The newest object below a prefix of a bucket: what a pipeline has put there last."""

from collections.abc import Iterator
from contextlib import ExitStack
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError

from diskyard.api.job import ImportJob
from diskyard.api.poll import Found, version_of
from diskyard.errors import InvalidRequest, SourceMissing
from importer.foreign import check
from importer.request import Access
from importer.s3 import Login, connected, place
from importer.s3_errors import refusal, trouble

MOST: Final = 100_000
"""Objects that are looked at: a bucket with more below one prefix is no place for images."""


def newest_key(job: ImportJob, login: Login, access: Access, pattern: str) -> Found:
    """The object that was written last, of those whose name behind the prefix fits.

    Raises InvalidRequest, SourceMissing, AccessDenied, SourceUnavailable.
    """
    where = place(f"{job.endpoint}-")  # a place has a key
    prefix = where.key[:-1]
    check(access, where.url)
    with ExitStack() as stack:
        signed = False
        try:
            client, signed = connected(where, login, access, job.region, stack)
            objects = _objects(client, where.bucket, prefix)
            fitting = [each for each in objects if _fits(each["Key"].removeprefix(prefix), pattern)]
        except ClientError as error:
            raise refusal(error.response, where, signed=signed) from error
        except BotoCoreError as error:
            raise trouble(error, where) from error
    if not fitting:
        raise SourceMissing(
            f"there is no object below {prefix!r} in the bucket {where.bucket} whose name fits {pattern!r}: put an "
            "image there, or correct the URL or the pattern"
        )
    last = max(fitting, key=lambda each: (each["LastModified"], each["Key"]))
    url = job.endpoint + quote(last["Key"].removeprefix(prefix))
    return Found(version_of(f"{last['Key']} {last.get('ETag', '')} {last['LastModified'].isoformat()}"), url)


def _fits(name: str, pattern: str) -> bool:
    return bool(name) and not name.endswith("/") and fnmatchcase(name, pattern)


def _objects(client: Any, bucket: str, prefix: str) -> Iterator[Any]:
    seen = 0
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for each in page.get("Contents") or ():
            seen += 1
            if seen > MOST:
                raise InvalidRequest(
                    f"there are more than {MOST} objects below {prefix!r} in the bucket {bucket}: name a longer prefix"
                )
            yield each
