"""The codes of links: short, of one use, for an hour."""

from pages.server import LINK_LIFE, Codes, link


def test_a_code_opens_once() -> None:
    codes = Codes()
    code = codes.made()

    assert codes.redeemed(code)
    assert not codes.redeemed(code)


def test_who_opened_may_ask_again_for_a_minute_where_the_answer_did_not_come() -> None:
    now = 0.0
    codes = Codes(lambda: now)
    code = codes.made()
    assert codes.redeemed(code, "one page")
    assert codes.redeemed(code, "one page")

    now += 61

    assert not codes.redeemed(code, "one page")


def test_nobody_else_opens_with_a_code_that_was_used() -> None:
    codes = Codes()
    code, other = codes.made(), codes.made()
    assert codes.redeemed(code, "one page")
    assert codes.redeemed(other, "one page")

    assert not codes.redeemed(code, "another page")
    assert not codes.redeemed(other)


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
