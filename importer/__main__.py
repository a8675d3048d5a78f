"""The importer's pod: environment in, a disk out, the end said in exit code and termination message.

Exit codes: 0 done, 3 can never work as asked, 4 may work when tried again, 143 told to stop.
"""

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Final

from diskyard import ending, log
from diskyard.api.job import ImportJob, TerminationMessage, Vddk
from diskyard.api.lending import NEVER, Lending
from diskyard.api.names import cdi
from diskyard.disk.target import Result
from diskyard.errors import AccessDenied, DiskyardError, NotStored, SourceMissing, SourceUnavailable
from diskyard.volume import target
from importer.report import Report
from importer.transfer import host_of, transfer

DONE: Final = 0
FATAL: Final = 3
PASSING: Final = 4
COPIED: Final = "Import Complete: copied from the image store of its node, nothing was fetched"
STOPPED: Final = 128 + signal.SIGTERM
_OPENING: Final = (SourceMissing, AccessDenied, SourceUnavailable)
"""Errors that CDI meets when it connects, and words so."""

logger = log.logger("importer")


@ending.at_once
def main() -> int:
    """Run the job that the environment says; the process's exit code."""
    log.start(log.level(os.environ.get(cdi.ENV_VERBOSITY, "")))
    signal.signal(signal.SIGTERM, _stop)
    if os.environ.get(cdi.ENV_POLL) == "true":
        return _look(os.environ)
    report = _report(os.environ)
    code, message = _run(os.environ, report)
    fetched = message.bytes_fetched or report.fetched
    message = replace(
        message, journal=report.journal, phase=report.phase if code else "", bytes_fetched=fetched
    )
    _leave(message.to_text(), Path(os.environ.get(cdi.ENV_TERMINATION_LOG, cdi.TERMINATION_LOG)))
    return code


def _run(env: Mapping[str, str], report: Report) -> tuple[int, TerminationMessage]:
    try:
        job = _job(env)
        start = time.monotonic()
        result = _result(job, env, report)
        _say(result, time.monotonic() - start)
        return DONE, _success(job, result)
    except DiskyardError as error:
        logger.warning(str(error), reason=error.reason, fatal=error.fatal)
        return (FATAL if error.fatal else PASSING), _failure(error, env.get(cdi.ENV_SOURCE, "http"))
    except SystemExit:
        logger.warning("told to stop: what is durable is kept, the next run goes on from there")
        return STOPPED, TerminationMessage("stopped before the import was complete", reason="Stopped")
    except Exception as error:
        logger.error("a fault of the importer's own", exc_info=True)
        return PASSING, TerminationMessage(f"Unable to process data: {error!r}", reason="InternalError")


def _result(job: ImportJob, env: Mapping[str, str], report: Report) -> Result:
    """The disk, or a lease of one. What only goes through the image store is imported where it does."""
    lending = Lending.from_env(env)
    if lending.lease:
        from importer import stored

        return stored.lent(job, lending, report.update)
    if lending.policy == NEVER:
        raise NotStored(
            "imagePullPolicy Never needs an image store, and this node keeps none: say IfNotPresent"
        )
    spot = replace(target(job, env), reported=job.journal)
    if not lending.folder:
        return transfer(job, spot, report.update)
    from importer import stored

    return stored.filled(job, lending, spot, report.update)


def _look(env: Mapping[str, str]) -> int:
    """Only say which version is there now."""
    from importer import poll

    place = Path(env.get(cdi.ENV_TERMINATION_LOG, cdi.TERMINATION_LOG))
    try:
        found = poll.found(_job(env), env.get(cdi.ENV_NEWEST, ""))
    except DiskyardError as error:
        logger.warning(str(error), reason=error.reason, fatal=error.fatal)
        _leave(TerminationMessage(str(error), reason=error.reason, fatal=error.fatal).to_text(), place)
        return FATAL if error.fatal else PASSING
    logger.info("looked at the source", digest=found.digest, url=found.url)
    _leave(found.to_text(), place)
    return DONE


def _job(env: Mapping[str, str]) -> ImportJob:
    """The job, with what lies in mounted secrets: header lines, one in every key of each; a pull secret."""
    job = ImportJob.from_env(env)
    files = sorted(Path(cdi.SECRET_HEADERS_DIR).glob("*/[!.]*"))
    auth_file = job.auth_file or (cdi.PULL_SECRET if Path(cdi.PULL_SECRET).is_file() else "")
    headers = (*job.extra_headers, *(file.read_text() for file in files))
    return replace(job, extra_headers=headers, auth_file=auth_file)


def _report(env: Mapping[str, str]) -> Report:
    host = env.get(cdi.ENV_POD_IP, "")
    port = int(env.get(cdi.ENV_METRICS_PORT, cdi.METRICS_PORT))

    def serve(report: Report) -> None:
        from importer.metrics import serve

        serve(report, host, port)

    owner, endpoint = env.get(cdi.ENV_OWNER_UID, ""), env.get(cdi.ENV_ENDPOINT, "")
    return Report(owner, serve if host else None, host=host_of(endpoint))


def _success(job: ImportJob, result: Result) -> TerminationMessage:
    return TerminationMessage(
        COPIED if result.stored else "Import Complete",
        preallocation_applied=job.preallocation,
        bytes_fetched=result.bytes_fetched,
        bytes_written=result.bytes_written,
        digest=result.digest,
        labels=result.labels,
        vddk=Vddk(**result.about) if job.source == "vddk" else None,
    )


def _failure(error: DiskyardError, source: str) -> TerminationMessage:
    connecting = isinstance(error, _OPENING)
    prefix = f"Unable to connect to {source} data source" if connecting else "Unable to process data"
    return TerminationMessage(f"{prefix}: {error}", reason=error.reason, fatal=error.fatal)


def _say(result: Result, seconds: float) -> None:
    logger.info(
        "import complete", format=result.format, virtual_size=result.virtual_size, fetched=result.bytes_fetched,
        written=result.bytes_written, digest=result.digest, seconds=f"{seconds:.2f}",
    )  # fmt: skip


def _leave(text: str, path: Path) -> None:
    """Say the end, behind which nothing is stopped any more."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(OSError):  # run by hand there is none, and the log has said it
        path.write_text(text)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(STOPPED)


if __name__ == "__main__":
    main()
