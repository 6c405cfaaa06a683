"""Which files are photos and which names can be kept is decided by the name alone."""

import unicodedata
from pathlib import PurePosixPath

import pytest

from pipeline.names import calls_itself_photo, is_hidden, spelt, storable, suffix_of


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.jpg", "jpg"),
        ("a.JPeG", "jpeg"),
        ("a.b.png", "png"),
        ("jpg", ""),
        (".jpg", ""),
        ("a.", ""),
        ("", ""),
        ("a.jpg ", "jpg "),
    ],
)
def test_a_suffix_is_what_stands_behind_the_last_dot(name: str, suffix: str) -> None:
    assert suffix_of(name) == suffix
    assert PurePosixPath(name).suffix.lower().removeprefix(".") == suffix


def test_photos_are_told_by_their_suffix_and_hidden_files_by_their_dot() -> None:
    assert all(map(calls_itself_photo, ("a.jpg", "b.HEIC", "c.jxl", "d.gif")))
    assert not any(map(calls_itself_photo, ("a.txt", "jpg", ".jpg", "a.jpg.txt", "Thumbs.db")))
    assert is_hidden(".DS_Store")
    assert not is_hidden("a.jpg")


def test_a_name_that_can_be_kept_has_nothing_that_breaks_a_line_or_turns_it() -> None:
    assert all(map(storable, ("a b.jpg", "\u5c71\u7530", "e\u0301", "a\u200db", "\u00a0")))
    assert not any(map(storable, ("a\0", "a\n", "\x7f", "\udc80", "\u2028", "\u202e", "\u2066")))


def test_no_shortcut_lets_a_character_through() -> None:
    bad = {"Cc", "Cs", "Zl", "Zp"}
    for code in range(0x11000):
        if unicodedata.category(chr(code)) in bad:
            assert not storable(chr(code)), hex(code)


def test_what_cannot_be_shown_is_written_out() -> None:
    assert spelt("two\nlines \udcff \u5c71") == "two\\nlines \\udcff \u5c71"
