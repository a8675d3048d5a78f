"""Jobs and ends cross between controllers and workers without loss."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskyard.api.job import MESSAGE_LIMIT, ImportJob, TerminationMessage
from diskyard.errors import InvalidRequest

FULL = ImportJob(
    source="http",
    endpoint="https://images.example/a.img",
    image_size="10Gi",
    owner_uid="u",
    overhead="0.06",
    content_type="kubevirt",
    checksum="sha256:00",
    preallocation=True,
    insecure_tls=True,
    cert_dir="/certs",
    extra_headers=tuple(f"X-{n}: v" for n in range(12)),
    http_proxy="http://p:1",
    https_proxy="http://p:2",
    no_proxy="local",
    checksum_url="https://images.example/SHA256SUMS",
    signature_url="https://images.example/SHA256SUMS.gpg",
    keyring="/keys",
    allow_addresses="169.254.10.0/24",
)


def test_a_job_reads_back_from_its_environment() -> None:
    assert ImportJob.from_env(FULL.to_env()) == FULL


def test_secrets_are_not_in_the_environment_that_a_controller_writes_nor_in_logs() -> None:
    job = ImportJob("http", access_key="user", secret_key="hunter2")
    assert "hunter2" not in str(job.to_env())
    assert "hunter2" not in repr(job)


def test_an_unclear_flag_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequest, match="PREALLOCATION must be true or false, found 'perhaps'"):
        ImportJob.from_env({"PREALLOCATION": "perhaps"})


def test_an_end_reads_back_from_its_message() -> None:
    end = TerminationMessage("Import Complete", "", False, True, 42, 84, "sha256:00")
    assert TerminationMessage.from_text(end.to_text()) == end


@given(st.text(max_size=9000))
def test_an_end_always_fits_and_reads_back(message: str) -> None:
    text = TerminationMessage(message, "SourceMissing", fatal=True).to_text()
    assert len(text.encode()) <= MESSAGE_LIMIT
    read = TerminationMessage.from_text(text)
    assert (read.reason, read.fatal) == ("SourceMissing", True)


def test_a_long_message_keeps_its_beginning_its_end_and_its_meaning() -> None:
    read = TerminationMessage.from_text(TerminationMessage("a" * 5000 + "z", "NoSpace", fatal=True).to_text())
    assert read.message.startswith("aaa")
    assert read.message.endswith("z")
    assert (read.reason, read.fatal) == ("NoSpace", True)


@pytest.mark.parametrize("text", ["panic: boom\n", "[1]", "3", '"quoted"'])
def test_what_is_not_ours_is_the_message_itself(text: str) -> None:
    assert TerminationMessage.from_text(text) == TerminationMessage(text.strip())


def test_nonsense_in_numbers_and_flags_is_nothing() -> None:
    read = TerminationMessage.from_text('{"message":"m","fatal":"yes","bytesFetched":-1,"bytesWritten":true}')
    assert read == TerminationMessage("m")
