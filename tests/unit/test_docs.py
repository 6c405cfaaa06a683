"""Pages that have to keep an order or say what the code says."""

import re
from pathlib import Path

from cli.thresholds import sentence
from facebatch.client.models.jobs import Threshold
from pipeline.specs import DEFAULT_ENGINE, engine_spec
from pipeline.thresholds import WantedThreshold, decided
from web.thresholds import ThresholdOut

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def _words() -> list[str]:
    lines = (DOCS / "glossary.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    return [row.split("|")[1].strip() for row in rows[1:]]


def test_the_glossary_is_sorted_and_has_each_word_once() -> None:
    words = _words()
    assert len(words) > 10
    assert words == sorted(set(words))


def test_every_make_target_on_a_page_is_there() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = [ROOT / "README.md", *DOCS.rglob("*.md")]
    named = {
        (page.name, target)
        for page in pages
        for target in re.findall(r"(?:^|`)make ([a-z][a-z-]*)", page.read_text(), re.MULTILINE)
    }
    assert ("accuracy.md", "accuracy") in named
    assert {one for one in named if one[1] not in targets} == set()


def _told(engine: str, subjects: int) -> str:
    """What a match says of its threshold."""
    threshold = decided(engine_spec(engine), WantedThreshold(), subjects=subjects)
    return sentence(Threshold.model_validate(ThresholdOut.of(threshold).model_dump()), engine)


def test_the_quickstart_tells_of_todays_thresholds() -> None:
    page = (DOCS / "quickstart.md").read_text(encoding="utf-8")
    assert f"```console\nfacebatch: {_told(DEFAULT_ENGINE.name, 5)}\n```" in page
    (share,) = re.findall(r"Here ([\d.]+) % of the faces", page)
    assert f"FNMR {float(share) / 100:.2g};" in _told(DEFAULT_ENGINE.name, 5)
    begins = r"With `(\w+)` that begins at ([\d,]+) people, with `(\w+)` at ([\d,]+)\."
    ((first, few, second, many),) = re.findall(begins, page)
    for engine, count in ((first, few), (second, many)):
        subjects = int(count.replace(",", ""))
        assert "are expected to be missed" in _told(engine, subjects)
        assert "are expected to be missed" not in _told(engine, round(subjects * 0.99) - 1)
