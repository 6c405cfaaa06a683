"""API keys tell by themselves whether they were copied whole."""

import re

import pytest

from db.key_text import ALPHABET, MARK, new_key_text, read_key_text, shown

KEY = new_key_text()


def test_a_key_is_known_by_its_mark_and_read_back() -> None:
    assert re.fullmatch(r"fb_live_[0-9A-Za-z]{61}", KEY.text)
    assert read_key_text(KEY.text) == KEY


def test_no_two_keys_are_alike() -> None:
    assert len({new_key_text().text for _ in range(100)}) == 100


def test_the_handle_stands_in_the_key_and_is_all_that_is_shown() -> None:
    assert KEY.text.startswith(shown(KEY.handle))
    assert len(shown(KEY.handle)) == len(MARK) + 12
    assert KEY.text not in f"{KEY!r} {KEY}"


@pytest.mark.parametrize("at", range(len(KEY.text)))
def test_each_character_counts(at: int) -> None:
    other = ALPHABET[(ALPHABET.find(KEY.text[at]) + 1) % len(ALPHABET)]
    assert read_key_text(KEY.text[:at] + other + KEY.text[at + 1 :]) is None
    assert read_key_text(KEY.text[:at] + KEY.text[at + 1 :]) is None
    assert read_key_text(KEY.text[:at]) is None


def test_two_characters_that_change_places_are_noticed() -> None:
    text = KEY.text
    swapped = {
        text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        for at in range(len(MARK), len(text) - 1)
        if text[at] != text[at + 1]
    }
    assert swapped
    assert {read_key_text(one) for one in swapped} == {None}


@pytest.mark.parametrize(
    "text",
    [
        "",
        MARK,
        f"{KEY.text} ",
        f"{KEY.text}\n",
        f" {KEY.text}",
        f"{KEY.text}{KEY.text}",
        KEY.text.swapcase(),
        KEY.text.removeprefix(MARK),
        KEY.text.replace("live", "test"),
        MARK + "\N{DEVANAGARI DIGIT ONE}" * 61,
        MARK + "-" * 61,
    ],
    ids=lambda text: f"{len(text)} characters",
)
def test_what_is_no_key_is_none(text: str) -> None:
    assert read_key_text(text) is None


def test_the_hash_hangs_on_the_whole_key_and_on_the_deployment() -> None:
    other = new_key_text()
    hashes = {
        KEY.hashed(b"a" * 32),
        KEY.hashed(b"b" * 32),
        other.hashed(b"a" * 32),
    }
    assert len(hashes) == 3
    assert {len(one) for one in hashes} == {32}
    assert read_key_text(KEY.text).hashed(b"a" * 32) in hashes
