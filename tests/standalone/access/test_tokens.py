"""Who is let in, and the file that lets kubectl in."""

import stat
from pathlib import Path

import yaml

from standalone.access.tokens import Tokens, tokens, write_kubeconfig


def test_the_token_is_made_once_and_kept(tmp_path: Path) -> None:
    first, second = tokens(tmp_path), tokens(tmp_path)

    assert first == second
    assert len(first.admin) >= 40


def test_only_the_very_token_is_known() -> None:
    known = Tokens("secret")

    assert known.known("secret")
    assert not known.known("")
    assert not known.known("secret ")
    assert not known.known("sécret")


def test_a_kubeconfig_is_for_its_owner_only_and_complete(tmp_path: Path) -> None:
    authority, path = tmp_path / "ca.crt", tmp_path / "kubeconfig"
    authority.write_bytes(b"certificate")

    write_kubeconfig(path, "https://127.0.0.1:6443", authority, "secret")

    written = yaml.safe_load(path.read_text())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert written["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    assert written["users"][0]["user"] == {"token": "secret"}
    assert written["contexts"][0]["context"]["namespace"] == "default"
    assert written["current-context"] == written["contexts"][0]["name"] == "diskyard"
