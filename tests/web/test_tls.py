"""Our own certificates: good for what they name, kept while they last."""

import ssl
import stat
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from diskyard.web import tls
from diskyard.web.server import Place, start
from tests.handshake import TLS_1_2, cipher

NOW = datetime(2026, 11, 21, tzinfo=UTC)
HOSTS = ("127.0.0.1", "localhost")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "pki"


def test_a_client_that_trusts_the_authority_trusts_the_server(folder: Path) -> None:
    now = datetime.now(UTC)
    authority = tls.authority(folder, "test", now)
    context = tls.context(tls.server(authority, folder, HOSTS, now))
    running = start(web.Application(), Place("127.0.0.1", 0, context))
    trusting = ssl.create_default_context(cafile=str(authority.certificate))

    try:
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(running.url, context=trusting, timeout=60)
    finally:
        running.stop()


def test_a_client_that_does_not_know_the_authority_refuses(folder: Path) -> None:
    now = datetime.now(UTC)
    context = tls.context(tls.server(tls.authority(folder, "test", now), folder, HOSTS, now))
    running = start(web.Application(), Place("127.0.0.1", 0, context))

    try:
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(running.url, timeout=60)
    finally:
        running.stop()


ONE = "ECDHE-ECDSA-AES256-GCM-SHA384"
CHOSEN = {"minTLSVersion": "VersionTLS10", "ciphers": ["TLS_AES_128_GCM_SHA256", "NOT-KNOWN", ONE]}


@pytest.mark.parametrize(
    ("profile", "old"),
    [
        ({}, True),
        ({"type": "Old", "old": {}}, True),
        ({"type": "Intermediate", "intermediate": {}}, True),
        ({"type": "Modern", "modern": {}}, False),
        ({"type": "Custom", "custom": {"minTLSVersion": "VersionTLS12"}}, True),
        ({"type": "Custom", "custom": {"minTLSVersion": "VersionTLS13"}}, False),
        ({"type": "Custom", "custom": CHOSEN}, True),
        ({"type": "Custom", "custom": {"ciphers": ["NOT-KNOWN"]}}, True),
        ({"type": "Custom", "custom": None}, True),
    ],
)
def test_a_profile_says_how_old_a_client_may_be(folder: Path, profile: dict[str, Any], old: bool) -> None:
    now = datetime.now(UTC)
    context = tls.context(tls.server(tls.authority(folder, "test", now), folder, HOSTS, now))
    running = start(web.Application(), Place("127.0.0.1", 0, context))
    usual = cipher(running.url, TLS_1_2)

    try:
        tls.harden(context, profile)
        found = cipher(running.url, TLS_1_2)
        assert bool(found) is old
        assert cipher(running.url)
        assert found in ("", ONE if profile.get("custom") is CHOSEN else usual)
        tls.harden(context, {})
        assert cipher(running.url, TLS_1_2) == usual
    finally:
        running.stop()


def test_keys_and_certificates_are_for_their_owner_only(folder: Path) -> None:
    tls.server(tls.authority(folder, "test", NOW), folder, HOSTS, NOW)

    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert sorted(path.name for path in folder.iterdir()) == ["ca.crt", "ca.key", "server.crt", "server.key"]


@pytest.mark.parametrize(
    ("later", "hosts", "kept"),
    [
        (timedelta(days=200), HOSTS, True),
        (tls.SERVER_LIFE - timedelta(days=60), HOSTS, False),
        (timedelta(0), (*HOSTS, "yard.example"), False),
    ],
    ids=["kept while it lasts", "renewed before its end", "made anew for another name"],
)
def test_a_servers_certificate_is(folder: Path, later: timedelta, hosts: tuple[str, ...], kept: bool) -> None:
    authority = tls.authority(folder, "test", NOW)
    before = tls.server(authority, folder, HOSTS, NOW).certificate.read_bytes()

    after = tls.server(authority, folder, hosts, NOW + later).certificate.read_bytes()

    assert (after == before) is kept


def test_a_damaged_file_is_made_anew_with_all_that_hangs_on_it(folder: Path) -> None:
    authority = tls.authority(folder, "test", NOW)
    before = tls.server(authority, folder, HOSTS, NOW).certificate.read_bytes()
    authority.key.write_bytes(b"not a key")

    again = tls.authority(folder, "test", NOW)

    assert tls.server(again, folder, HOSTS, NOW).certificate.read_bytes() != before
