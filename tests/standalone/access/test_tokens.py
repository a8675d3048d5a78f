"""Who is let in, and the file that lets kubectl in."""

import stat
from pathlib import Path

import pytest
import yaml

from diskyard.api.user import User
from diskyard.errors import InvalidRequest
from standalone.access.tokens import ADMIN, Tokens, tokens, write_kubeconfig


def test_the_token_is_made_once_and_kept(tmp_path: Path) -> None:
    first, second = tokens(tmp_path), tokens(tmp_path)

    assert first.admin == second.admin
    assert first.key.private_numbers() == second.key.private_numbers()
    assert len(first.admin) >= 40


def test_only_the_very_token_is_known() -> None:
    known = Tokens("secret")

    assert known.user("secret") == ADMIN
    assert not any(known.user(wrong) for wrong in ("", "secret ", "sécret", "\udcff"))


def test_users_and_their_groups_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "tokens.csv").write_text('one,ann,17,"builders,testers"\ntwo,bob\n\n')

    known = tokens(tmp_path)

    assert known.user("one") == User("ann", ("builders", "testers", "system:authenticated"), "17")
    assert known.user("two") == User("bob", ("system:authenticated",))


def test_a_line_without_a_user_is_refused_with_its_number(tmp_path: Path) -> None:
    (tmp_path / "tokens.csv").write_text("one,ann\ntwo\n")

    with pytest.raises(InvalidRequest, match=r"tokens.csv, line 2: expected token,user,uid"):
        tokens(tmp_path)


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
