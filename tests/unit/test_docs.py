"""Pages that have to keep an order or say what the code says."""

from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def _words() -> list[str]:
    lines = (DOCS / "glossary.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    return [row.split("|")[1].strip() for row in rows[1:]]


def test_the_glossary_is_sorted_and_has_each_word_once() -> None:
    words = _words()
    assert len(words) > 10
    assert words == sorted(set(words))
