"""The codes of links: short, of one use, for an hour."""

from pages.server import LINK_LIFE, Codes, link


def test_a_code_opens_once() -> None:
    codes = Codes()
    code = codes.made()

    assert codes.redeemed(code)
    assert not codes.redeemed(code)


def test_a_code_is_good_for_an_hour() -> None:
    now = 100.0
    codes = Codes(lambda: now)
    early, late = codes.made(), codes.made()

    now += LINK_LIFE - 1
    assert codes.redeemed(early)
    now += 2
    assert not codes.redeemed(late)


def test_what_is_no_code_opens_nothing() -> None:
    codes = Codes()
    codes.made()

    assert not any(codes.redeemed(text) for text in ("", "x", "A" * 100_000))


def test_a_link_is_short_and_its_code_cannot_be_guessed() -> None:
    printed = {link(Codes(), "https://127.32.0.10") for _ in range(100)}

    assert len(printed) == 100
    assert all(len(each) == len("https://127.32.0.10/#") + 16 for each in printed)
